"""The confusion matrix: each fault that inject= can commit, and the one right verdict for it.

Many faults share a boot, each on a processor of its own; who bears none must greet. The matrix is
printed at the end and kept in build/matrix.txt. Surprise: only what a verdict says is compared,
never how long it took, so a busy host may be slow but not wrong.
"""

import dataclasses
import fcntl

import pytest

import qemu
from conftest import assert_ended

MATRIX = qemu.BUILD / "matrix.txt"


@dataclasses.dataclass
class Right:
    """What ev=cpu must say of a processor that bears a fault."""

    state: str = "failed"
    cause: str | None = None
    keys: dict = dataclasses.field(default_factory=dict)

    def name(self):
        return self.cause or self.keys.get("retry") and "cured" or self.state


def fault(mode, vector, **keys):
    return Right(cause="fault", keys={"mode": mode, "vector": str(vector), **keys})


CURED = Right("online", keys={"stage": "greeted", "tries": "2", "retry": "sequence"})

# Faults that a processor commits by itself, whatever message woke it.
OWN = {
    "hang-real": Right(cause="stopped-in-real", keys={"stage": "real"}),
    "ud-real": fault("real", 6, stage="real"),
    "hang-protected": Right(cause="stopped-in-protected", keys={"stage": "protected"}),
    "ud-protected": fault("protected", 6, stage="protected"),
    "hang-long": Right(cause="stopped-in-long", keys={"stage": "long"}),
    "ud-long": fault("long", 6, stage="long"),
    "hang-c": Right(cause="stopped-in-c", keys={"stage": "c"}),
    "ud-c": fault("c", 6, stage="c"),
    "bad-stack": fault("long", 14, stage="long"),
    "bad-entry": fault("long", 14, ip="0x0", cr2="0x0"),
    "wrong-id": Right(cause="wrong-id"),
    "late": Right(cause="late", keys={"stage": "c"}),
    "mute": Right(cause="silent", keys={"stage": "c"}),
    "nmi": fault("c", 2, stage="c"),
}

# Faults of the messages to one processor: not for a broadcast.
MESSAGES = {
    "no-init": CURED,
    "no-sipi": CURED,
    "lost-sipi": CURED,
    "bad-vector": Right(cause="never-fetched", keys={"stage": "none", "tries": "2"}),
}

APIC = {"x2apic": "max", "xapic": "qemu64"}
STRATEGIES = ["parallel", "one-by-one", "broadcast"]


def note(injected, verdict):
    """One cell of the matrix; several workers write, so the file is locked."""
    MATRIX.parent.mkdir(exist_ok=True)
    with open(MATRIX, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{injected} {verdict}\n")


def verdict_of(record):
    if record["state"] == "failed":
        return record["cause"]
    return "cured" if "retry" in record else record["state"]


def assert_verdicts(result, faults):
    wrong = []
    for cpu, (word, right) in faults.items():
        record = result.cpu(cpu)
        seen = {key: record.get(key) for key in right.keys}
        if (record["state"], record.get("cause")) != (right.state, right.cause) \
                or seen != right.keys:
            wrong.append(f"{word}: {record}")
    assert not wrong, "\n".join(wrong) + result.tail()


def check(result, faults, smp):
    """`faults`: {CPU: (word, Right)}; all other APs greet, and the counts are right."""
    for cpu, (word, _) in faults.items():
        note(word, verdict_of(result.cpu(cpu)))
    assert_verdicts(result, faults)
    failed = [cpu for cpu, (_, right) in faults.items() if right.state == "failed"]
    healthy = [cpu for cpu in range(1, smp) if cpu not in failed]
    assert [cpu for cpu, _ in result.greetings()] == healthy, result.tail()
    assert_ended(result, qemu.EXIT_NOT_ALL if failed else qemu.EXIT_OK, want=str(smp - 1),
                 up=str(len(healthy)), failed=str(len(failed)), ok="0" if failed else "1")


def inject(faults):
    return "inject=" + ",".join(f"{word}:{cpu}" for cpu, (word, _) in faults.items())


def placed(table, first=1):
    return dict(enumerate(table.items(), first))


@pytest.mark.slow
@pytest.mark.parametrize("wake", STRATEGIES)
@pytest.mark.parametrize("apic", APIC)
def test_sixteen(boot, apic, wake):
    """Fourteen processors fail at once, each in its own way, and the fifteenth greets."""
    faults = placed(OWN)
    result = boot(smp="16", cpu=APIC[apic], options=f"wake={wake} retries=0 {inject(faults)}")
    assert result.one("machine")["apic"] == apic
    check(result, faults, 16)


@pytest.mark.parametrize("apic", APIC)
@pytest.mark.parametrize("part", range(5))
def test_four(boot, apic, part):
    """Three at a time, with a retry in between: a fault that stays is not cured by it."""
    words = list(OWN)[3 * part:3 * part + 3]
    faults = placed({word: OWN[word] for word in words})
    check(boot(cpu=APIC[apic], options=f"wake={STRATEGIES[part % 3]} timeout_us=300000 "
               f"{inject(faults)}" if "late" not in words else
               f"wake={STRATEGIES[part % 3]} {inject(faults)}"), faults, 4)


@pytest.mark.parametrize("smp", [4, 16])
@pytest.mark.parametrize("apic, wake", [("x2apic", "parallel"), ("xapic", "one-by-one")])
def test_messages(boot, apic, wake, smp):
    small = {"x2apic": ["no-init", "lost-sipi", "bad-vector"],
             "xapic": ["no-sipi", "no-init", "bad-vector"]}
    words = list(MESSAGES) if smp == 16 else small[apic]
    faults = placed({word: MESSAGES[word] for word in words})
    check(boot(smp=str(smp), cpu=APIC[apic],
               options=f"wake={wake} timeout_us=300000 {inject(faults)}"), faults, smp)


@pytest.mark.parametrize("word", MESSAGES)
def test_a_broadcast_withholds_nothing(boot, word):
    result = boot(options=f"wake=broadcast inject={word}:2")
    assert result.one("error")["what"] == "inject" and not result.greetings()
    assert_ended(result, qemu.EXIT_REFUSED, ok="0")


@pytest.mark.parametrize("wake, smp, apic", [("parallel", 4, "x2apic"), ("one-by-one", 4, "xapic"),
                                             ("broadcast", 16, "xapic"), ("parallel", 16, "x2apic")])
def test_bad_copy(boot, wake, smp, apic):
    """The page is damaged after it was compared: nobody comes, and the page is named."""
    result = boot(smp=str(smp), cpu=APIC[apic],
                  options=f"wake={wake} retries=0 timeout_us=300000 inject=bad-copy")
    check(result, {cpu: ("bad-copy", Right(cause="damaged-page")) for cpu in range(1, smp)}, smp)


@pytest.mark.parametrize("smp, apic, wake", [(4, "x2apic", "parallel"), (4, "xapic", "broadcast"),
                                             (16, "x2apic", "broadcast"), (16, "xapic", "parallel")])
def test_ghost_and_duplicate(boot, smp, apic, wake):
    """The MADT lists an ID that no processor has, and another one twice."""
    result = boot(smp=str(smp), cpu=APIC[apic],
                  options=f"wake={wake} timeout_us=300000 inject=ghost,duplicate:1")
    assert result.one("machine")["duplicate"] == "1"
    note("duplicate", verdict_of(result.cpu(1)))
    assert result.cpu(1)["state"] == "online"
    check(result, {smp: ("ghost", Right(cause="never-fetched", keys={"stage": "none"}))}, smp + 1)


@pytest.mark.parametrize("smp, apic", [(4, "xapic"), (16, "x2apic")])
def test_unlisted(boot, smp, apic):
    """A broadcast wakes who is in no table: it parks, is told, and does not make the run fail."""
    result = boot(smp=str(smp), cpu=APIC[apic], options="wake=broadcast inject=unlisted:2")
    found = [r for r in result.all("cpu") if r["state"] == "unlisted"]
    assert [r["apic"] for r in found] == ["0x2"], result.tail()
    note("unlisted", "unlisted")
    left = str(smp - 2)
    assert len(result.greetings()) == smp - 2
    assert_ended(result, qemu.EXIT_OK, ok="1", want=left, up=left, failed="0")


def test_no_low_page(boot):
    """Firmware has nothing to give below 1 MiB: a boot-services page is taken after the exit."""
    result = boot(options="inject=no-low-page")
    note("no-low-page", verdict_of(result.cpu(1)))
    check(result, {}, 4)


@pytest.mark.slow
def test_lost_startups_on_changing_processors(boot):
    """500 rounds, the first sequence of another processor dropped in each: nobody is lost."""
    result = boot(smp="4", cpu="qemu64", options="log=quiet rounds=500 timeout_us=20000 "
                  "inject=lost-sipi")
    wakes = result.all("wake")
    assert len(wakes) == 500
    assert all(w["up"] == w["want"] == "3" and w["retried"] == "1" for w in wakes), result.tail()
    assert [result.cpu(cpu)["tries"] for cpu in (1, 2, 3)] == ["1", "2", "1"]
    assert_ended(result, qemu.EXIT_OK, ok="1", want="3", up="3", failed="0")
