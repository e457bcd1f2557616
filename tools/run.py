"""make run: boots the image in an emulator with OVMF, shows the lines as they come, and judges.

Exit status 0 only if the last record says ok=1 and QEMU's exit status agrees; else 1, and one line why. The machine
comes from the variables EMULATOR SMP CPU MEM MACHINE ACCEL MODEL OPTIONS OVMF.
"""

import os
import re
import sys

import bochs
import guest
import qemu
import records

# What a machine is made of, what runs it, and the variables that it does not go by.
EMULATORS = {"qemu": (qemu.for_a_user, qemu.Qemu, ("MODEL",)),
             "bochs": (bochs.from_environment, bochs.Bochs, ("CPU", "MACHINE", "ACCEL"))}


def verdict(end, status, timed_out, options="", chooses_status=True):
    """Why a run was no success, or None. `end` is its ev=end record or None, `status` the emulator's exit
    status, None if it had to be ended. An `end=` of the user's own excuses another status, and so does
    a run that returns to firmware, which is ended here, or an emulator whose status no guest can choose."""
    if timed_out and end is None:
        return "the machine was still running when its time was over"
    if status == qemu.EXIT_REFUSED or end and end.get("ok") != "1" and end.get("want") == "0":
        return "refused before leaving firmware: see the errors above"
    if end is None:
        return f"the machine is gone without an ev=end record (the emulator's exit status is {status})"
    if end.get("ok") != "1":
        return f"not all came: {end.get('failed', '?')} of {end.get('want', '?')} failed"
    if not chooses_status or re.search(r"(?:^|\s)(?:exit=no|check=yes|dry-run=yes)(?:\s|$)", options):
        return None
    asked = re.findall(r"(?:^|\s)end=(\S+)", options)[-1:]
    without_debug_exit = asked and asked[0] in ("halt", "poweroff", "reset")
    if status != qemu.EXIT_OK and not (without_debug_exit and not status):
        return f"ok=1, yet QEMU's exit status is {status} and not {qemu.EXIT_OK}"
    return None


def chosen():
    """(machine, emulator) of the Makefile's variables."""
    name = os.environ.get("EMULATOR") or "qemu"
    if name not in EMULATORS:
        raise guest.Failure(f"EMULATOR={name}: it is one of {' '.join(EMULATORS)}")
    from_environment, emulator, others = EMULATORS[name]
    for variable in filter(os.environ.get, others):
        raise guest.Failure(f"{variable}= says nothing to EMULATOR={name}: the processor is CPU= for qemu, MODEL= for "
                            "bochs, and MACHINE= and ACCEL= are for qemu alone")
    return from_environment(), emulator


def main():
    machine, emulator = chosen()
    if emulator is qemu.Qemu:
        # A machine that goes down starts anew, as a real one does, and tells what happened; unless a reset
        # is how the run is to end.
        machine.reset_ends = re.search(r"(?:^|\s)end=reset(?:\s|$)", machine.options) is not None
    end, tail = None, []
    with emulator(machine) as vm:
        for line in vm.lines():
            print(line, flush=True)
            record = records.parse_record(line)
            # A start that fetches the result of a run in which somebody failed does not make up for it.
            if record and record["ev"] == "end" and not (end and end.get("ok") != "1"):
                end = record
        why = verdict(end, vm.status, vm.timed_out, machine.options, vm.chooses_status)
        if why and vm.stderr():
            tail = vm.stderr().splitlines()[-3:]
    if why:
        print("run:", "; ".join([why, *tail]), file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (guest.Failure, ValueError) as e:
        sys.exit(f"run: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
