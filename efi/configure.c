// Where options come from: \reveille.cfg in the root of the volume that the image was loaded from,
// then the load options; the later win. Or a line that was edited, and it alone. Surprise: it runs
// twice. The first time tells nobody and only learns where the console is to be; the second time
// tells everything there.

#include "configure.h"

#include "options.h"
#include "tell.h"

// A longer file is no option file: told, and not read.
#define CONFIG_BYTES_MAX 65536u

// EFI_NOT_FOUND: there is none, or no file system where the image came from.
static EFI_STATUS open_file(const struct firmware *firmware, EFI_FILE_HANDLE *file)
{
    static const EFI_GUID guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    EFI_FILE_HANDLE root = NULL;
    CHAR16 path[] = L"\\reveille.cfg";

    if (!firmware->loaded->DeviceHandle)
        return EFI_NOT_FOUND;
    EFI_FILE_IO_INTERFACE *volume =
        firmware_protocol(firmware, firmware->loaded->DeviceHandle, &guid);
    if (!volume)
        return EFI_NOT_FOUND;
    EFI_STATUS status = volume->OpenVolume(volume, &root);
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, file, path, EFI_FILE_MODE_READ, 0);
    root->Close(root);
    return status;
}

// Asked first, since reading a directory succeeds, too: it yields its entries, in binary.
static bool is_directory(EFI_FILE_HANDLE file)
{
    static EFI_GUID guid = EFI_FILE_INFO_ID;
    uint64_t memory[(sizeof(EFI_FILE_INFO) + 64 * sizeof(CHAR16)) / sizeof(uint64_t) + 1];
    EFI_FILE_INFO *info = (EFI_FILE_INFO *)(void *)memory;
    UINTN bytes = sizeof memory;

    return !EFI_ERROR(file->GetInfo(file, &guid, &bytes, info)) &&
           (info->Attribute & EFI_FILE_DIRECTORY) != 0;
}

static struct configured refuse(const struct problems *problems, const char *what,
                                const char *detail)
{
    problem_tell(problems, SEVERITY_ERROR, what, detail);
    return (struct configured){.status = STATUS_INVALID, .unread = true};
}

static struct configured refuse_unreadable(const struct problems *problems)
{
    return refuse(
        problems, "config-unreadable",
        "reveille.cfg exists but cannot be read, so no processor is woken: copy it to the "
        "volume again, delete it, or try another stick");
}

static struct configured read_opened(const struct firmware *firmware, EFI_FILE_HANDLE file,
                                     const struct problems *problems, struct options *options)
{
    struct configured read = {STATUS_OK, false};
    UINTN bytes = CONFIG_BYTES_MAX;
    void *text = NULL;

    if (EFI_ERROR(firmware->boot->AllocatePool(EfiLoaderData, CONFIG_BYTES_MAX, &text)) ||
        EFI_ERROR(file->Read(file, &bytes, text))) {
        read = refuse_unreadable(problems);
    } else if (bytes >= CONFIG_BYTES_MAX) {
        read = refuse(problems, "config-too-long",
                      "reveille.cfg is 64 KiB or longer, too long for an option file, so no "
                      "processor is woken: leave only options in it, or delete it");
    } else if (bytes == 0) {
        problem_tell(
            problems, SEVERITY_WARNING, "config-empty",
            "reveille.cfg is empty and sets no options: if it should, copy it again, and eject the "
            "stick before you unplug it");
    } else {
        read.status = options_parse(text, bytes, "reveille.cfg", problems, options);
    }
    if (text)
        firmware->boot->FreePool(text);
    return read;
}

static struct configured read_file(const struct firmware *firmware, const struct problems *problems,
                                   struct options *options)
{
    struct configured read = {STATUS_OK, false};
    EFI_FILE_HANDLE file = NULL;

    const EFI_STATUS opened = open_file(firmware, &file);
    if (opened == EFI_NOT_FOUND)
        return read; // the defaults
    if (EFI_ERROR(opened))
        return refuse_unreadable(problems);
    if (is_directory(file))
        problem_tell(
            problems, SEVERITY_WARNING, "config-directory",
            "reveille.cfg is a directory and sets no options: replace it with a text file of that "
            "name");
    else
        read = read_opened(firmware, file, problems, options);
    file->Close(file);
    return read;
}

struct configured configure(const struct firmware *firmware, const struct typed *typed,
                            const struct problems *problems, struct options *options)
{
    options_set_defaults(options);
    if (typed->given)
        return (struct configured){
            options_parse(typed->text, typed->length, "the line typed", problems, options), false};
    struct configured read = read_file(firmware, problems, options);
    const enum status words = options_parse_load_options(
        firmware->loaded->LoadOptions, firmware->loaded->LoadOptionsSize, problems, options);
    read.status = read.status != STATUS_OK ? read.status : words;
    return read;
}
