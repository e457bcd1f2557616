// The preloader's way: load \reveille\BOOTX64.EFI, start the behaviours, start the image, and
// switch the machine off if it returns. Surprise: the behaviours start last, since firmware's own
// loading is not what is tried.

#include "preload.h"

#include "mem.h"

#define CONFIG_BYTES 1024u

// Of ACPI's tables.
#define RSDP_XSDT    24u
#define HEADER_BYTES 36u
#define LENGTH       4u
#define CHECKSUM     9u

static const struct behaviour *const behaviours[] = {
    &behaviour_execute,     &behaviour_fadt,          &behaviour_framebuffer,
    &behaviour_grow_map,    &behaviour_idle_uart,     &behaviour_load_options,
    &behaviour_madt,        &behaviour_mp_services,   &behaviour_pci_uart,
    &behaviour_protect,     &behaviour_refuse_writes, &behaviour_strict,
    &behaviour_take_places, &behaviour_uefi_2_9,
};

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

void preload_say(const struct preload *preload, const CHAR16 *text)
{
    preload->system->ConOut->OutputString(preload->system->ConOut, (CHAR16 *)(uintptr_t)text);
}

uint64_t preload_number(const char *text)
{
    const uint64_t base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
    uint64_t value = 0;

    for (text += base == 16 ? 2 : 0;; text++) {
        const char c = *text;
        if (c >= '0' && c <= '9')
            value = value * base + (uint64_t)(c - '0');
        else if (base == 16 && c >= 'a' && c <= 'f')
            value = value * base + (uint64_t)(c - 'a') + 10;
        else
            return value;
    }
}

bool preload_is(const char *text, const char *word)
{
    while (*word && *text == *word)
        text++, word++;
    return *text == *word;
}

static uint64_t number_at(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    memcpy(&value, bytes, count);
    return value;
}

static uint8_t *find_xsdt(const struct preload *preload)
{
    static const EFI_GUID guid = ACPI_20_TABLE_GUID;
    const EFI_SYSTEM_TABLE *system = preload->system;

    for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &system->ConfigurationTable[i];
        if (memcmp(&entry->VendorGuid, &guid, sizeof guid) == 0)
            return (uint8_t *)(uintptr_t)number_at((uint8_t *)entry->VendorTable + RSDP_XSDT, 8);
    }
    return NULL;
}

uint8_t *preload_table(const struct preload *preload, const char *signature)
{
    const uint8_t *xsdt = find_xsdt(preload);

    for (uint64_t at = HEADER_BYTES; xsdt && at + 8 <= number_at(xsdt + LENGTH, 4); at += 8) {
        uint8_t *table = (uint8_t *)(uintptr_t)number_at(xsdt + at, 8);
        if (table && memcmp(table, signature, 4) == 0)
            return table;
    }
    return NULL;
}

void preload_mend_table(uint8_t *table)
{
    const uint64_t length = number_at(table + LENGTH, 4);
    uint8_t sum = 0;

    table[CHECKSUM] = 0;
    for (uint64_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + table[i]);
    table[CHECKSUM] = (uint8_t)-sum;
}

EFI_STATUS preload_replace_table(const struct preload *preload, const uint8_t *before,
                                 const uint8_t *table)
{
    const uint64_t address = (uintptr_t)table;
    uint8_t *xsdt = find_xsdt(preload);

    for (uint64_t at = HEADER_BYTES; xsdt && at + 8 <= number_at(xsdt + LENGTH, 4); at += 8) {
        if (number_at(xsdt + at, 8) != (uintptr_t)before)
            continue;
        memcpy(xsdt + at, &address, sizeof address);
        preload_mend_table(xsdt);
        return EFI_SUCCESS;
    }
    return EFI_NOT_FOUND;
}

void *preload_hook(const struct preload *preload, void *slot, void *hook)
{
    EFI_TABLE_HEADER *header = &preload->boot->Hdr;
    void **place = slot;
    void *before = *place;
    UINT32 crc = 0;

    *place = hook;
    header->CRC32 = 0;
    (void)preload->boot->CalculateCrc32(header, header->HeaderSize, &crc);
    header->CRC32 = crc;
    return before;
}

static bool same(const char *name, const char *word, size_t length)
{
    size_t i = 0;

    for (; i < length && name[i] == word[i]; i++)
        ;
    return i == length && name[i] == '\0';
}

static EFI_STATUS start_word(const struct preload *preload, char *word)
{
    size_t length = 0;

    while (word[length] && word[length] != '=')
        length++;
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
        if (same(behaviours[i]->name, word, length))
            return behaviours[i]->start(preload, word[length] ? word + length + 1 : "");
    }
    return EFI_NOT_FOUND;
}

static EFI_STATUS start_behaviours(const struct preload *preload, char *text, UINTN bytes)
{
    EFI_STATUS status = EFI_SUCCESS;

    for (UINTN at = 0; at < bytes && !EFI_ERROR(status);) {
        char *word = text + at;
        while (at < bytes && text[at] > ' ')
            at++;
        text[at++] = '\0';
        if (*word)
            status = start_word(preload, word);
    }
    return status;
}

static EFI_STATUS read_config(const struct preload *preload, char *text, UINTN *bytes)
{
    EFI_GUID guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root, file;
    CHAR16 name[] = L"\\firmware.cfg";

    EFI_STATUS status =
        preload->boot->HandleProtocol(preload->loaded->DeviceHandle, &guid, (void **)&volume);
    if (!EFI_ERROR(status))
        status = volume->OpenVolume(volume, &root);
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, &file, name, EFI_FILE_MODE_READ, 0);
    root->Close(root);
    if (EFI_ERROR(status))
        return status;
    status = file->Read(file, bytes, text);
    file->Close(file);
    return status;
}

// The volume's device path with a file behind it, in `memory`.
static EFI_STATUS make_path(const struct preload *preload, uint8_t *memory, size_t capacity)
{
    static const CHAR16 name[] = L"\\reveille\\BOOTX64.EFI";
    EFI_GUID guid = DEVICE_PATH_PROTOCOL;
    uint8_t *path;
    size_t used = 0;

    const EFI_STATUS status =
        preload->boot->HandleProtocol(preload->loaded->DeviceHandle, &guid, (void **)&path);
    if (EFI_ERROR(status))
        return status;
    while (path[used] != END_DEVICE_PATH_TYPE)
        used += (size_t)path[used + 2] | (size_t)path[used + 3] << 8;
    const size_t bytes = 4 + sizeof name;
    if (used + bytes + 4 > capacity)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(memory, path, used);
    const uint8_t file[] = {MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP, (uint8_t)bytes,
                            (uint8_t)(bytes >> 8)};
    memcpy(memory + used, file, sizeof file);
    memcpy(memory + used + sizeof file, name, sizeof name);
    const uint8_t end[] = {END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, 4, 0};
    memcpy(memory + used + bytes, end, sizeof end);
    return EFI_SUCCESS;
}

static EFI_STATUS load(struct preload *preload)
{
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;
    uint8_t path[1024];

    EFI_STATUS status = make_path(preload, path, sizeof path);
    if (EFI_ERROR(status))
        return status;
    status = preload->boot->LoadImage(
        FALSE, preload->handle, (EFI_DEVICE_PATH_PROTOCOL *)(void *)path, NULL, 0, &preload->image);
    if (EFI_ERROR(status))
        return status;
    return preload->boot->HandleProtocol(preload->image, &loaded_image,
                                         (void **)&preload->image_loaded);
}

// Called by the start-up code.
EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;
    struct preload preload = {.handle = handle, .system = system, .boot = system->BootServices};
    char text[CONFIG_BYTES + 1];
    UINTN bytes = CONFIG_BYTES;

    EFI_STATUS status =
        preload.boot->HandleProtocol(handle, &loaded_image, (void **)&preload.loaded);
    if (!EFI_ERROR(status))
        status = load(&preload);
    if (!EFI_ERROR(status))
        status = read_config(&preload, text, &bytes);
    if (!EFI_ERROR(status))
        status = start_behaviours(&preload, text, bytes);
    if (EFI_ERROR(status)) {
        preload_say(&preload, L"preload: failed\r\n");
        return status;
    }
    status = preload.boot->StartImage(preload.image, NULL, NULL);
    preload_say(&preload, EFI_ERROR(status) ? L"preload: the image returned an error\r\n"
                                            : L"preload: the image returned\r\n");
    system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    return status;
}
