// Fuzzer: the volume that the image came from and the variable store, when any call of them may
// fail, lie, or do half of what it was asked to: what a start reads of options there, and what it
// does with the run before. Surprise: the volume here keeps its files, so that what was told as
// saved can be read again, and what may only be forgotten when it was saved is seen to be.
#include "configure.h"

#include "fake_hw.h"
#include "fuzz.h"
#include "harvest.h"
#include "next_start.h"
#include "nvram.h"

#define FILES       6u
#define FILE_MOST   8192u // then the volume is full
#define CALLS_MAX   4096u
#define FAILURES    3u
#define VARIABLE    1200u
#define JOURNAL     2048u
#define CONFIG_MOST 65536u
#define ALL_ATTRIBUTES \
    (EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS)

static const char *const names[FILES] = {"reveille.cfg", "last.txt",     "last.rec",
                                         "previous.txt", "previous.rec", "again"};
enum { CONFIG, LAST, LAST_RECORDS, PREVIOUS, PREVIOUS_RECORDS, MARK };

static struct {
    size_t calls, fail_at[FAILURES];
    EFI_STATUS fail_with[FAILURES];
    bool stick, refused; // by what stick.c asks; it may not ask again
    bool uninformed;     // how long a file is was not told, or could not be changed
    bool no_volume, gone, no_disk, has_folder, config_is_folder;
    uint8_t lies;
    int open;
    UINT64 free;
    struct file {
        EFI_FILE handle;
        bool exists;
        char bytes[FILE_MOST];
        size_t length, at;
    } files[FILES];
} volume;

static EFI_FILE root, folder;
static EFI_BLOCK_IO_MEDIA media;
static EFI_BLOCK_IO disk = {.Media = &media};
static EFI_FILE_IO_INTERFACE file_system;
static uint8_t path[64];
static size_t pools;

// ---- what fails ----

static bool is_final(EFI_STATUS status)
{
    switch (status) {
    case EFI_DEVICE_ERROR:
    case EFI_WRITE_PROTECTED:
    case EFI_NO_MEDIA:
    case EFI_MEDIA_CHANGED:
    case EFI_VOLUME_CORRUPTED:
    case EFI_TIMEOUT:
    case EFI_NO_RESPONSE:
        return true;
    default:
        return false;
    }
}

// Does this call fail? `noted`: who asked notes it, and does not ask this volume again.
static EFI_STATUS fails(bool noted)
{
    EFI_STATUS status = EFI_SUCCESS;

    MUST(!volume.refused);
    MUST(++volume.calls < CALLS_MAX);
    for (size_t i = 0; i < FAILURES; i++) {
        if (volume.fail_at[i] == volume.calls)
            status = volume.fail_with[i];
    }
    volume.refused = volume.stick && noted && is_final(status);
    return status;
}

static EFI_STATUS take_status(struct input *input)
{
    static const EFI_STATUS statuses[] = {
        EFI_DEVICE_ERROR,     EFI_WRITE_PROTECTED, EFI_NO_MEDIA,         EFI_MEDIA_CHANGED,
        EFI_VOLUME_CORRUPTED, EFI_TIMEOUT,         EFI_NO_RESPONSE,      EFI_VOLUME_FULL,
        EFI_ACCESS_DENIED,    EFI_NOT_FOUND,       EFI_OUT_OF_RESOURCES, EFI_INVALID_PARAMETER};

    return statuses[input_choice(input, sizeof statuses / sizeof statuses[0])];
}

// ---- files ----

static struct file *file_of(EFI_FILE *handle)
{
    return (struct file *)(void *)handle;
}

static bool has_name(const CHAR16 *wide, const char *name)
{
    size_t i = 0;

    wide += wide[0] == L'\\';
    while (name[i] && wide[i] == (CHAR16)name[i])
        i++;
    return !name[i] && !wide[i];
}

static EFI_STATUS EFIAPI open_file(EFI_FILE *from, EFI_FILE **opened, CHAR16 *name, UINT64 mode,
                                   UINT64 attributes)
{
    const EFI_STATUS status = fails(true);
    const bool create = (mode & EFI_FILE_MODE_CREATE) != 0;
    struct file *file = NULL;

    if (EFI_ERROR(status))
        return status;
    if (from == &root && has_name(name, "reveille")) {
        if (!volume.has_folder && !create)
            return EFI_NOT_FOUND;
        MUST(!create || attributes == EFI_FILE_DIRECTORY);
        volume.has_folder = true;
        volume.open++;
        *opened = &folder;
        return EFI_SUCCESS;
    }
    for (size_t i = 0; i < FILES; i++) {
        if (has_name(name, names[i]) && (i == CONFIG) == (from == &root))
            file = &volume.files[i];
    }
    MUST(file != NULL); // nothing else is anybody's business
    if (!file->exists && !create)
        return EFI_NOT_FOUND;
    MUST(from == &folder || mode == EFI_FILE_MODE_READ);
    file->exists = true;
    file->at = 0;
    volume.open++;
    *opened = &file->handle;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_file(EFI_FILE *self)
{
    (void)self;
    volume.open--;
    return fails(false);
}

static EFI_STATUS EFIAPI delete_file(EFI_FILE *self)
{
    volume.open--;
    if (EFI_ERROR(fails(false)))
        return EFI_WARN_DELETE_FAILURE;
    file_of(self)->exists = false;
    file_of(self)->length = 0;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_file(EFI_FILE *self, UINTN *bytes, void *to)
{
    const struct file *file = file_of(self);
    const EFI_STATUS status = fails(true);
    const size_t asked = *bytes;

    if (EFI_ERROR(status))
        return status;
    if (volume.lies & 1) // a file of blanks, longer than anybody asks for
        memset(to, ' ', asked);
    *bytes = volume.lies & 1 ? asked : file->length < asked ? file->length : asked;
    if (!(volume.lies & 1))
        memcpy(to, file->bytes, *bytes);
    *bytes += (volume.lies & 3) == 3;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI write_file(EFI_FILE *self, UINTN *bytes, void *from)
{
    struct file *file = file_of(self);
    const EFI_STATUS status = fails(true);
    const size_t asked = *bytes, room = FILE_MOST - file->at;

    if (EFI_ERROR(status) || (volume.lies & 4) != 0)
        *bytes /= 2;
    if (*bytes > room)
        *bytes = room;
    memcpy(file->bytes + file->at, from, *bytes);
    file->at += *bytes;
    file->length = file->at > file->length ? file->at : file->length;
    return EFI_ERROR(status) || *bytes == asked ? status : EFI_VOLUME_FULL;
}

static EFI_STATUS EFIAPI flush_file(EFI_FILE *self)
{
    (void)self;
    return fails(true);
}

static EFI_STATUS EFIAPI get_info(EFI_FILE *self, EFI_GUID *guid, UINTN *bytes, void *info)
{
    const EFI_STATUS status = fails(self == &root);

    (void)guid;
    volume.uninformed |= EFI_ERROR(status);
    if (EFI_ERROR(status))
        return status;
    memset(info, 0, *bytes);
    if (self == &root) {
        ((EFI_FILE_SYSTEM_INFO *)info)->FreeSpace = volume.free;
        return EFI_SUCCESS;
    }
    EFI_FILE_INFO *told = info;
    told->FileSize = volume.lies & 8 ? UINT64_MAX : file_of(self)->length;
    told->Attribute =
        self == &volume.files[CONFIG].handle && volume.config_is_folder ? EFI_FILE_DIRECTORY : 0;
    *bytes = offsetof(EFI_FILE_INFO, FileName) + sizeof(CHAR16);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_info(EFI_FILE *self, EFI_GUID *guid, UINTN bytes, void *info)
{
    const EFI_STATUS status = fails(true);

    (void)guid, (void)bytes;
    volume.uninformed |= EFI_ERROR(status);
    if (EFI_ERROR(status))
        return status;
    MUST(((EFI_FILE_INFO *)info)->FileSize <= file_of(self)->length);
    file_of(self)->length = (size_t)((EFI_FILE_INFO *)info)->FileSize;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *self, EFI_FILE **opened)
{
    const EFI_STATUS status = fails(true);

    (void)self;
    if (!EFI_ERROR(status)) {
        *opened = &root;
        volume.open++;
    }
    return status;
}

// ---- handles and memory ----

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **found)
{
    static const EFI_GUID files = SIMPLE_FILE_SYSTEM_PROTOCOL, blocks = BLOCK_IO_PROTOCOL;

    MUST(handle == &volume);
    if (volume.gone)
        return EFI_INVALID_PARAMETER;
    if (memcmp(guid, &files, sizeof files) == 0)
        *found = volume.no_volume ? NULL : &file_system;
    else if (memcmp(guid, &blocks, sizeof blocks) == 0)
        *found = volume.no_disk ? NULL : &disk;
    else
        *found = volume.no_disk ? NULL : path;
    return *found ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN bytes, void **memory)
{
    (void)type;
    if (volume.lies & 16)
        return EFI_OUT_OF_RESOURCES;
    *memory = malloc(bytes);
    MUST(*memory != NULL);
    pools++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *memory)
{
    free(memory);
    pools--;
    return EFI_SUCCESS;
}

// ---- variables ----

static struct {
    uint8_t bytes[VARIABLE];
    UINTN length, told; // as it is, and as firmware says
    EFI_STATUS refusal; // of every change
    uint8_t current[4];
    UINTN current_bytes;
    bool next_set;
    uint16_t next;
    UINT64 all, left, largest;
    EFI_STATUS query;
} store;

static EFI_STATUS give(const void *bytes, UINTN length, UINTN told, UINTN *room, void *to)
{
    const UINTN had = *room;

    if (length == 0)
        return EFI_NOT_FOUND;
    *room = told;
    if (length > had && told == length)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(to, bytes, length < had ? length : had);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
                                      UINTN *bytes, void *data)
{
    (void)guid, (void)attributes;
    if (has_name(name, "BootCurrent"))
        return give(store.current, store.current_bytes, store.current_bytes, bytes, data);
    MUST(has_name(name, "ReveilleLast"));
    return give(store.bytes, store.length, store.told, bytes, data);
}

static EFI_STATUS EFIAPI set_variable(CHAR16 *name, EFI_GUID *guid, UINT32 attributes, UINTN bytes,
                                      void *data)
{
    (void)guid;
    MUST(attributes == ALL_ATTRIBUTES);
    if (EFI_ERROR(store.refusal))
        return store.refusal;
    if (has_name(name, "BootNext")) {
        MUST(bytes == sizeof store.next); // UEFI 2.10, "Globally Defined Variables": a UINT16
        memcpy(&store.next, data, bytes);
        store.next_set = true;
        return EFI_SUCCESS;
    }
    MUST(has_name(name, "ReveilleLast") && bytes == 0);
    store.length = 0;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI query(UINT32 attributes, UINT64 *all, UINT64 *left, UINT64 *largest)
{
    MUST(attributes == ALL_ATTRIBUTES);
    *all = store.all;
    *left = store.left;
    *largest = store.largest;
    return store.query;
}

static EFI_BOOT_SERVICES boot = {
    .HandleProtocol = handle_protocol, .AllocatePool = allocate_pool, .FreePool = free_pool};
static EFI_RUNTIME_SERVICES runtime = {
    .GetVariable = get_variable, .SetVariable = set_variable, .QueryVariableInfo = query};
static EFI_SYSTEM_TABLE system_table = {.BootServices = &boot, .RuntimeServices = &runtime};
static EFI_LOADED_IMAGE loaded;
static const struct firmware firmware = {.system = &system_table, .boot = &boot, .loaded = &loaded};

// ---- the world before a start ----

// A path of two nodes, one of which may be a CD's.
static void make_path(struct input *input)
{
    static const uint8_t kinds[][2] = {
        {ACPI_DEVICE_PATH, 1}, {MEDIA_DEVICE_PATH, MEDIA_CDROM_DP}, {MEDIA_DEVICE_PATH, 1}};
    size_t at = 0;

    memset(path, 0, sizeof path);
    for (size_t i = 0; i < 2; i++) {
        const size_t bytes = 4 + input_choice(input, 12);
        memcpy(path + at, kinds[input_choice(input, sizeof kinds / sizeof kinds[0])], 2);
        path[at + 2] = (uint8_t)bytes;
        at += bytes;
    }
    memcpy(path + at, (const uint8_t[]){0x7f, 0xff, 4, 0}, 4);
}

static void make_file(struct input *input, size_t which)
{
    static const EFI_FILE handle = {.Open = open_file,
                                    .Close = close_file,
                                    .Delete = delete_file,
                                    .Read = read_file,
                                    .Write = write_file,
                                    .Flush = flush_file,
                                    .GetInfo = get_info,
                                    .SetInfo = set_info};
    struct file *file = &volume.files[which];

    root = folder = file->handle = handle;
    file->exists = which == CONFIG || input_u8(input) % 2;
    file->length = which == CONFIG                 ? input_u8(input)
                   : file->exists && which != MARK ? 16u * input_u8(input)
                                                   : 0;
    if (which == CONFIG)
        input_take(input, file->bytes, file->length);
    else
        memset(file->bytes, 'o', file->length);
}

static void make_volume(struct input *input)
{
    memset(&volume, 0, offsetof(__typeof__(volume), files));
    const uint8_t kind = input_u8(input), medium = input_u8(input);
    volume.no_volume = kind == 1;
    volume.gone = kind == 2;
    volume.no_disk = kind % 4 == 3;
    volume.has_folder = kind & 0x40;
    volume.config_is_folder = kind == 5;
    volume.lies = kind & 0x80 ? input_u8(input) : 0;
    volume.free = input_u8(input) % 8 == 0 ? 512u * input_u8(input) : 1u << 20;
    media = (EFI_BLOCK_IO_MEDIA){.MediaPresent = medium % 16 != 1, .ReadOnly = medium % 16 == 2};
    for (size_t i = 0; i < FAILURES; i++) {
        volume.fail_at[i] = input_u8(input);
        volume.fail_with[i] = take_status(input);
    }
    for (size_t i = 0; i < FILES; i++)
        make_file(input, i);
    make_path(input);
    file_system.OpenVolume = open_volume;
    loaded.DeviceHandle = medium == 3 ? NULL : &volume;
}

static void make_store(struct input *input)
{
    memset(&store, 0, sizeof store);
    const uint8_t kind = input_u8(input);
    store.length = kind & 1 ? input_u16(input) % VARIABLE : 0;
    input_take(input, store.bytes, store.length < 64 ? store.length : 64);
    memset(store.bytes + 64, 'v', VARIABLE - 64);
    store.told = kind & 2 ? input_u16(input) : store.length;
    store.refusal = kind & 4 ? EFI_SECURITY_VIOLATION : EFI_SUCCESS;
    store.current_bytes = kind & 8 ? input_choice(input, 5) : 2;
    input_take(input, store.current, sizeof store.current);
    store.all = 1024u * input_u8(input);
    store.left = 1024u * input_u8(input);
    store.largest = 1024u * input_u8(input);
    store.query = kind & 16 ? EFI_UNSUPPORTED : EFI_SUCCESS;
    runtime.Hdr.Revision = kind & 32 ? 1u << 16 : 2u << 16;
}

static void take_lines(struct input *input, struct journal *journal, char *memory)
{
    char line[64];

    journal_open(journal, memory, JOURNAL);
    for (size_t lines = input_choice(input, 40); lines > 0; lines--) {
        const uint8_t kind = input_u8(input);
        size_t length = 0;
        if (kind & 1)
            length = (size_t)sprintf(line, "REVEILLE ev=%s", kind & 2 ? "end ok=1" : "cpu cpu=1");
        while (length < (kind >> 2 & 31))
            line[length] = (char)('a' + length % 26), length++;
        line[length] = '\0';
        journal_write_line(journal, line);
    }
}

// ---- what a start does ----

// The options are those of the file, then the load options; or of the line that was typed, alone.
static void check_configure(struct input *input)
{
    struct told told = {0}, again = {0};
    const struct problems problems = {told_add, &told}, quiet = {told_add, &again};
    struct typed typed = {.given = input_u8(input) % 8 == 7};
    struct options options, wanted;
    uint8_t words[32];

    loaded.LoadOptions = words;
    loaded.LoadOptionsSize = (UINT32)input_choice(input, sizeof words + 1);
    input_take(input, words, sizeof words);
    typed.length = input_choice(input, 32);
    input_take(input, typed.text, typed.length);
    const struct configured read = configure(&firmware, &typed, &problems, &options);
    MUST((read.status == STATUS_OK) == (told.errors == 0));
    MUST(!read.unread || read.status != STATUS_OK);
    options_set_defaults(&wanted);
    if (typed.given) {
        MUST(volume.calls == 0 && !read.unread);
        (void)options_parse(typed.text, typed.length, "", &quiet, &wanted);
    } else {
        const struct file *file = &volume.files[CONFIG];
        const bool whole = volume.calls > 0 && !read.unread && !volume.config_is_folder &&
                           volume.fail_at[0] == 0 && volume.fail_at[1] == 0 &&
                           volume.fail_at[2] == 0 && volume.lies == 0;
        if (whole)
            (void)options_parse(file->bytes, file->length, "", &quiet, &wanted);
        (void)options_parse_load_options(words, loaded.LoadOptionsSize, &quiet, &wanted);
        if (!whole && volume.calls > 0)
            memcpy(&wanted, &options, sizeof wanted); // who knows
    }
    MUST(memcmp(&options, &wanted, offsetof(struct options, words)) == 0);
    MUST(volume.open == 0 && pools == 0);
}

// Does this file say these lines, and nothing else but blanks? What was longer before may stand
// behind them where the volume does not tell how long a file is.
static bool is_saved(const struct file *file, const struct journal *journal, bool records)
{
    const char *at = file->bytes, *line;

    for (size_t i = 0; (line = journal_next(journal, &i)) != NULL;) {
        const size_t length = strlen(line);
        if (is_record(line) != records)
            continue;
        if ((size_t)(file->bytes + file->length - at) < length + 2 ||
            memcmp(at, line, length) != 0 || memcmp(at + length, "\r\n", 2) != 0)
            return false;
        at += length + 2;
    }
    while (at < file->bytes + file->length && (*at == ' ' || *at == '\n'))
        at++;
    return at == file->bytes + file->length || volume.uninformed;
}

static bool are_saved(size_t first, const struct journal *journal)
{
    return is_saved(&volume.files[first], journal, false) &&
           is_saved(&volume.files[first + 1], journal, true);
}

// Whether the journal that was found is saved, as it is told.
static void hear(void *saved, const char *line)
{
    struct heard heard = {0};

    heard_line(&heard, line);
    if (strncmp(line, "REVEILLE ev=harvest ", 20) == 0)
        *(bool *)saved = strstr(line, " saved=1") != NULL;
}

static void check_volume_left(const struct stick *stick)
{
    MUST(volume.refused ? EFI_ERROR(stick->refusal) : volume.open == 0);
    MUST(pools == 0);
}

static void check_harvest(struct input *input)
{
    static _Alignas(64) uint8_t head_memory[sizeof(struct journal_head)];
    static char found_text[JOURNAL], own_text[JOURNAL];
    struct options options = {.save = (enum save_choice)input_choice(input, 3),
                              .harvest = (enum harvest_choice)input_choice(input, 2),
                              .again = (enum answer)input_choice(input, 2)};
    struct journal_head *head = (struct journal_head *)(void *)head_memory;
    struct last_run last = {.again = input_u8(input) % 2};
    struct told told = {0};
    const struct problems problems = {told_add, &told};
    CHAR16 name[] = L"last";
    bool saved = false;
    struct console console;
    struct journal own;

    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = hear, .context = &saved};
    struct stick stick = {.firmware = &firmware, .console = &console};
    if (input_u8(input) % 4 != 0)
        last.head = head;
    memset(head_memory, 'h', sizeof head_memory);
    take_lines(input, &last.journal, found_text);
    take_lines(input, &own, own_text);
    const bool only = options.harvest == HARVEST_ONLY, summary = store.length > 0;

    volume.stick = true;
    struct past past = harvest(&options, &own, &last, &stick, &problems);
    check_volume_left(&stick);
    MUST(told.errors == 0);
    const bool dropped = head_memory[0] != 'h';
    MUST((!dropped && !saved) || last.head);
    MUST(!saved || (dropped && !past.unsaved && are_saved(LAST, &last.journal)));
    MUST(!saved || past.fetched || are_saved(PREVIOUS, &last.journal));
    MUST(!only || past.fetched);
    MUST(!only || saved || !dropped);
    MUST(!past.summary_told || summary);
    // What is forgotten was saved, or told by this start's own lines, which were.
    MUST(store.length > 0 || !summary || saved || (!last.head && are_saved(PREVIOUS, &own)));

    const bool kept = store.length > 0, waits = past.summary_told;
    const bool mine = harvest_own(&own, name, input_u8(input) % 2 ? STICK_CUT : STICK_BLANK, &stick,
                                  &past, &problems);
    check_volume_left(&stick);
    MUST(!mine || are_saved(LAST, &own));
    MUST(!mine || !past.summary_told);
    MUST(store.length > 0 || !kept || (mine && waits));

    own.head = head;
    const bool asked = next_start_ask(input_u8(input) % 4 ? &own : NULL, &stick, &problems);
    check_volume_left(&stick);
    MUST(!asked || (volume.files[MARK].exists && own.seal.again == 1 && store.next_set));
    MUST(!store.next_set || memcmp(&store.next, store.current, sizeof store.next) == 0);
    MUST(asked || own.seal.again == 0);
    const bool resets =
        next_start_allows_reset(input_u8(input) % 4 ? &own : NULL, &past, &stick, &problems);
    check_volume_left(&stick);
    MUST(!resets || (volume.files[MARK].exists && !past.forgotten));
    const size_t warnings = told.warnings;
    MUST(nvram_has_room(&firmware, &problems) == (told.warnings == warnings));
    MUST(told.warnings > warnings || (store.left >= 5120 && store.left >= store.all / 2));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    fake_reset();
    fake_log_kinds(0);
    make_volume(&input);
    make_store(&input);
    check_configure(&input);
    if (input_u8(&input) % 2) { // else the failures are for configure, and the next start's
        volume.calls = 0;
        volume.lies &= (uint8_t)~3u;
    }
    check_harvest(&input);
    return 0;
}
