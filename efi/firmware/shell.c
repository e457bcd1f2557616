// The UEFI Shell's manners (UEFI Shell Specification 2.2, "EFI_SHELL_PROTOCOL"). Surprise: the
// break event is a member and not a function, and it stays signalled until it is checked.

#include "shell.h"

#include <efishell.h>

#define PAGE_WAIT_S 600u // somebody who has left must not stop the run for ever
#define POLL_US     10000u

bool shell_started(const struct firmware *firmware)
{
    static const EFI_GUID parameters = EFI_SHELL_PARAMETERS_PROTOCOL_GUID;

    return firmware_protocol(firmware, firmware->handle, &parameters) != NULL;
}

bool shell_break(const struct firmware *firmware)
{
    EFI_GUID guid = EFI_SHELL_PROTOCOL_GUID;
    EFI_SHELL_PROTOCOL *shell = NULL;

    return !EFI_ERROR(firmware->boot->LocateProtocol(&guid, NULL, (void **)&shell)) &&
           shell->ExecutionBreak && !EFI_ERROR(firmware->boot->CheckEvent(shell->ExecutionBreak));
}

bool shell_wait_for_key(const struct firmware *firmware)
{
    SIMPLE_INPUT_INTERFACE *input = firmware->system->ConIn;
    EFI_INPUT_KEY key;

    if (!input)
        return false;
    for (uint32_t waited = 0; waited < PAGE_WAIT_S * (1000000u / POLL_US); waited++) {
        if (!EFI_ERROR(input->ReadKeyStroke(input, &key)))
            return key.UnicodeChar != 'q' && key.UnicodeChar != 'Q';
        firmware->boot->Stall(POLL_US);
    }
    return false;
}
