// Where options come from: \reveille.cfg in the root of the volume that the image was loaded from,
// then the load options; the later win. Or a line that was edited, and it alone. Surprise: it runs
// twice. The first time tells nobody and only learns where the console is to be; the second time
// tells everything there.

#include "firmware.h"

#include "line.h"
#include "option_text.h"

// A longer file is no option file: told, and not read.
#define CONFIG_BYTES_MAX 65536u

static EFI_FILE_HANDLE open_file(const struct firmware *firmware)
{
    EFI_GUID guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    EFI_FILE_IO_INTERFACE *volume = NULL;
    EFI_FILE_HANDLE root = NULL, file = NULL;
    CHAR16 path[] = L"\\reveille.cfg";

    if (!firmware->loaded->DeviceHandle ||
        EFI_ERROR(firmware->boot->HandleProtocol(firmware->loaded->DeviceHandle, &guid,
                                                 (void **)&volume)) ||
        EFI_ERROR(volume->OpenVolume(volume, &root)))
        return NULL;
    if (EFI_ERROR(root->Open(root, &file, path, EFI_FILE_MODE_READ, 0)))
        file = NULL;
    root->Close(root);
    return file;
}

static enum status read_file(const struct firmware *firmware, const struct problems *problems,
                             struct options *options)
{
    EFI_FILE_HANDLE file = open_file(firmware);
    enum status status = STATUS_OK;
    UINTN bytes = CONFIG_BYTES_MAX;
    void *text = NULL;

    if (!file)
        return STATUS_OK; // no file: the defaults
    if (EFI_ERROR(firmware->boot->AllocatePool(EfiLoaderData, CONFIG_BYTES_MAX, &text)) ||
        EFI_ERROR(file->Read(file, &bytes, text))) {
        problems->tell(problems->context, SEVERITY_ERROR, "config-unreadable",
                       "reveille.cfg is there, but could not be read");
        status = STATUS_INVALID;
        options->save = SAVE_NONE; // as it may have said
    } else if (bytes >= CONFIG_BYTES_MAX) {
        problems->tell(
            problems->context, SEVERITY_ERROR, "config-too-long",
            "reveille.cfg has 65536 bytes or more: this is no option file, so nothing of it "
            "was read");
        status = STATUS_INVALID;
        options->save = SAVE_NONE; // as it may have said
    } else {
        status = options_parse(text, bytes, "reveille.cfg", problems, options);
    }
    if (text)
        firmware->boot->FreePool(text);
    file->Close(file);
    return status;
}

enum status configure(const struct firmware *firmware, const struct typed *typed,
                      const struct problems *problems, struct options *options)
{
    options_set_defaults(options);
    if (typed->given)
        return options_parse(typed->text, typed->length, "the line typed", problems, options);
    const enum status file = read_file(firmware, problems, options);
    const enum status words = options_parse_load_options(
        firmware->loaded->LoadOptions, firmware->loaded->LoadOptionsSize, problems, options);
    return file != STATUS_OK ? file : words;
}
