// The .sbat section: name and generation of this program, by which shim can revoke a broken build
// of it. Surprise: text for another program to read; nothing here refers to it, the linker script
// keeps it.

// Two lines of the format that shim's SBAT.md defines: component, generation, vendor, package,
// version, URL. The generation goes up when a hole is closed through which Secure Boot could be
// walked around.
#define SBAT_TEXT                                                                   \
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n" \
    "reveille,1,Reveille,reveille," VERSION ",https://reveille.invalid/\n"

__attribute__((used, section(".sbat"))) static const char sbat[] = SBAT_TEXT;
