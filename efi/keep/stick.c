// The result on the volume that the image was loaded from, and on no other. Surprise: a file is
// overwritten in place, and what is left of it becomes blanks, so that its place on the volume
// never changes; the image's files have room from the beginning. Only after exit=no is it cut to
// its text, for whoever types it in the Shell. And a volume that has refused is not even closed:
// firmware would try for another quarter of a minute to write what it could not.

#include "stick.h"

#include "device_path.h"
#include "mem.h"
#include "tell.h"

#define CHUNK_BYTES 4096u
#define NAME_CHARS  16u
#define FOLDER_ROOM 0x10000u // bytes: a cluster, however large it is on this volume

struct writer {
    struct stick *stick;
    EFI_FILE_HANDLE file;
    EFI_STATUS status;
    UINT64 written;
    size_t used;
    char chunk[CHUNK_BYTES];
};

// Remembers what will not get better in this start: what concerns the volume, and not one file.
static EFI_STATUS note(struct stick *stick, EFI_STATUS status)
{
    switch (status) {
    case EFI_DEVICE_ERROR:
    case EFI_WRITE_PROTECTED:
    case EFI_NO_MEDIA:
    case EFI_MEDIA_CHANGED:
    case EFI_VOLUME_CORRUPTED:
    case EFI_TIMEOUT:
    case EFI_NO_RESPONSE:
        stick->refusal = status;
        break;
    default:
        break;
    }
    return status;
}

static void close(const struct stick *stick, EFI_FILE_HANDLE file)
{
    if (!EFI_ERROR(stick->refusal))
        file->Close(file);
}

static bool is_cd(const uint8_t *node, size_t bytes)
{
    (void)bytes;
    return node[0] == MEDIA_DEVICE_PATH && node[1] == MEDIA_CDROM_DP;
}

// Asked beforehand: firmware's drivers may try for a minute what a medium refuses. A CD is not
// called read-only by each of them.
static EFI_STATUS check_medium(const struct firmware *firmware)
{
    static const EFI_GUID blocks = BLOCK_IO_PROTOCOL, paths = DEVICE_PATH_PROTOCOL;
    EFI_HANDLE device = firmware->loaded->DeviceHandle;
    EFI_BLOCK_IO *disk = firmware_protocol(firmware, device, &blocks);

    if (disk) {
        if (!disk->Media->MediaPresent)
            return EFI_NO_MEDIA;
        if (disk->Media->ReadOnly)
            return EFI_WRITE_PROTECTED;
    }
    const EFI_DEVICE_PATH_PROTOCOL *path = firmware_protocol(firmware, device, &paths);
    return path && device_path_find(path, is_cd) ? EFI_WRITE_PROTECTED : EFI_SUCCESS;
}

static EFI_STATUS open_root(struct stick *stick, EFI_FILE_HANDLE *root)
{
    const struct firmware *firmware = stick->firmware;
    EFI_GUID guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    EFI_HANDLE device = firmware->loaded->DeviceHandle;
    EFI_FILE_IO_INTERFACE *volume = NULL;

    if (EFI_ERROR(stick->refusal))
        return stick->refusal;
    EFI_STATUS status =
        device ? firmware->boot->HandleProtocol(device, &guid, (void **)&volume) : EFI_UNSUPPORTED;
    if (EFI_ERROR(status)) // a handle that is none any more is EFI_INVALID_PARAMETER
        return stick->refusal = status == EFI_UNSUPPORTED ? status : EFI_NO_MEDIA;
    status = check_medium(firmware);
    return note(stick, EFI_ERROR(status) ? status : volume->OpenVolume(volume, root));
}

static void flush(struct writer *writer)
{
    UINTN bytes = writer->used;

    if (!EFI_ERROR(writer->status) && bytes > 0)
        writer->status =
            note(writer->stick, writer->file->Write(writer->file, &bytes, writer->chunk));
    if (!EFI_ERROR(writer->status) && bytes < writer->used)
        writer->status = EFI_VOLUME_FULL;
    writer->written += bytes;
    writer->used = 0;
}

static void put(struct writer *writer, const char *text)
{
    for (; *text; text++) {
        if (writer->used == CHUNK_BYTES)
            flush(writer);
        writer->chunk[writer->used++] = *text;
    }
}

static bool is_record(const char *line)
{
    static const char word[] = "REVEILLE ";
    for (size_t i = 0; word[i]; i++) {
        if (line[i] != word[i])
            return false;
    }
    return true;
}

#define BLANKS 64u // in a line

// What the file was longer before becomes blanks, or is cut off.
static void end_file(struct writer *writer, enum stick_end end)
{
    static EFI_GUID guid = EFI_FILE_INFO_ID;
    uint64_t memory[(sizeof(EFI_FILE_INFO) + 64 * sizeof(CHAR16)) / sizeof(uint64_t) + 1];
    EFI_FILE_INFO *info = (EFI_FILE_INFO *)(void *)memory;
    UINTN bytes = sizeof memory;

    if (EFI_ERROR(writer->status) ||
        EFI_ERROR(writer->file->GetInfo(writer->file, &guid, &bytes, info)) ||
        info->FileSize <= writer->written)
        return;
    if (end == STICK_BLANK) {
        while (!EFI_ERROR(writer->status) && writer->written + writer->used < info->FileSize)
            put(writer, (writer->written + writer->used + 1) % BLANKS == 0 ? "\n" : " ");
        flush(writer);
        return;
    }
    info->FileSize = writer->written;
    (void)note(writer->stick, writer->file->SetInfo(writer->file, &guid, bytes, info));
    writer->status = writer->stick->refusal; // else the text is whole, whatever comes behind it
}

static EFI_STATUS save(EFI_FILE_HANDLE folder, CHAR16 *name, const struct journal *journal,
                       bool records, enum stick_end end, struct writer *writer)
{
    size_t at = 0;
    const char *line;

    writer->used = 0;
    writer->written = 0;
    writer->status =
        note(writer->stick,
             folder->Open(folder, &writer->file, name,
                          EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE, 0));
    if (EFI_ERROR(writer->status))
        return writer->status;
    while ((line = journal_next(journal, &at)) != NULL) {
        if (is_record(line) != records)
            continue;
        put(writer, line);
        put(writer, "\r\n");
    }
    flush(writer);
    end_file(writer, end);
    if (!EFI_ERROR(writer->status))
        writer->status = note(writer->stick, writer->file->Flush(writer->file));
    close(writer->stick, writer->file);
    return writer->status;
}

// NAME and a suffix of three letters, into `path`.
static void add_suffix(const CHAR16 *name, const CHAR16 *suffix, CHAR16 path[NAME_CHARS])
{
    size_t at = 0;

    while (at < NAME_CHARS - 5 && name[at]) {
        path[at] = name[at];
        at++;
    }
    path[at++] = L'.';
    for (size_t i = 0; i < 3; i++)
        path[at++] = suffix[i];
    path[at] = 0;
}

// Surprise: firmware's FAT driver leaves a broken entry behind when a full volume has no cluster
// for a new folder, so it is not asked.
static EFI_STATUS check_room(EFI_FILE_HANDLE root)
{
    static EFI_GUID guid = EFI_FILE_SYSTEM_INFO_ID;
    uint64_t memory[32]; // with a label of any length that FAT has
    EFI_FILE_SYSTEM_INFO *info = (EFI_FILE_SYSTEM_INFO *)(void *)memory;
    UINTN bytes = sizeof memory;

    const EFI_STATUS status = root->GetInfo(root, &guid, &bytes, info);
    return !EFI_ERROR(status) && info->FreeSpace < FOLDER_ROOM ? EFI_VOLUME_FULL : status;
}

static EFI_STATUS open_folder(struct stick *stick, bool create, EFI_FILE_HANDLE *folder)
{
    const UINT64 old = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE;
    CHAR16 name[] = L"\\reveille";
    EFI_FILE_HANDLE root = NULL;

    EFI_STATUS status = open_root(stick, &root);
    if (EFI_ERROR(status))
        return status;
    status = note(stick, root->Open(root, folder, name, old, 0));
    if (status == EFI_NOT_FOUND && create) {
        status = note(stick, check_room(root));
        if (!EFI_ERROR(status))
            status = note(stick, root->Open(root, folder, name, old | EFI_FILE_MODE_CREATE,
                                            EFI_FILE_DIRECTORY));
    }
    close(stick, root);
    return status;
}

static EFI_STATUS save_both(const struct journal *journal, const CHAR16 *name, enum stick_end end,
                            struct writer *writer)
{
    EFI_FILE_HANDLE folder = NULL;
    CHAR16 path[NAME_CHARS];

    EFI_STATUS status = open_folder(writer->stick, true, &folder);
    if (EFI_ERROR(status))
        return status;
    add_suffix(name, L"txt", path);
    status = save(folder, path, journal, false, end, writer);
    if (!EFI_ERROR(status)) {
        add_suffix(name, L"rec", path);
        status = save(folder, path, journal, true, end, writer);
    }
    close(writer->stick, folder);
    return status;
}

// Before the first write of a start. On a broken volume it is the last line for a while.
static void tell_saving(struct stick *stick)
{
    if (!stick->told && !EFI_ERROR(stick->refusal))
        console_tell(stick->console,
                     "Saving to \\reveille: up to a minute if the volume is broken");
    stick->told = true;
}

bool stick_save(struct stick *stick, const struct journal *journal, const CHAR16 *name,
                enum stick_end end, const struct problems *problems)
{
    const EFI_BOOT_SERVICES *boot = stick->firmware->boot;
    void *memory = NULL;

    tell_saving(stick);
    EFI_STATUS status = boot->AllocatePool(EfiLoaderData, sizeof(struct writer), &memory);
    if (!EFI_ERROR(status)) {
        struct writer *writer = memory;
        writer->stick = stick;
        status = save_both(journal, name, end, writer);
        boot->FreePool(writer);
    }
    if (!EFI_ERROR(status))
        return true;
    if (stick->warned)
        return false;
    stick->warned = EFI_ERROR(stick->refusal);
    problem_tell(problems, SEVERITY_WARNING, "not-saved",
                 status == EFI_WRITE_PROTECTED ? "the volume is read-only: no \\reveille\\last.txt"
                 : status == EFI_VOLUME_FULL   ? "the volume is full: no \\reveille\\last.txt"
                 : status == EFI_UNSUPPORTED
                     ? "the image came from a network, or from a file system that firmware cannot "
                       "read: no \\reveille.cfg, no \\reveille\\last.txt"
                 : status == EFI_NO_MEDIA || status == EFI_MEDIA_CHANGED
                     ? "the volume is gone: no \\reveille\\last.txt"
                     : "the volume reported an error: no \\reveille\\last.txt");
    return false;
}

static EFI_FILE_HANDLE open_mark(struct stick *stick, UINT64 more)
{
    const UINT64 mode = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE;
    EFI_FILE_HANDLE folder = NULL, mark = NULL;
    CHAR16 name[] = L"again";

    if (EFI_ERROR(open_folder(stick, more != 0, &folder)))
        return NULL;
    if (EFI_ERROR(note(stick, folder->Open(folder, &mark, name, mode | more, 0))))
        mark = NULL;
    close(stick, folder);
    return mark;
}

bool stick_set_mark(struct stick *stick)
{
    tell_saving(stick);
    EFI_FILE_HANDLE mark = open_mark(stick, EFI_FILE_MODE_CREATE);
    if (!mark)
        return false;
    const bool flushed = !EFI_ERROR(note(stick, mark->Flush(mark)));
    close(stick, mark);
    return flushed;
}

enum stick_mark stick_take_mark(struct stick *stick)
{
    EFI_FILE_HANDLE mark = open_mark(stick, 0);
    if (!mark)
        return STICK_UNMARKED;
    tell_saving(stick);                                   // to take the mark away is to write
    return note(stick, mark->Delete(mark)) == EFI_SUCCESS // which closes it, too
               ? STICK_MARK_TAKEN
               : STICK_MARK_STAYS;
}
