// Values: what stands behind the '=' of an option, read, described and printed by its kind.
#pragma once

#include "option_table.h"

// `KEY=VALUE` as somebody typed it; `name` is the option's name or its alias.
struct assignment {
    const struct option *option;
    struct text name, value;
};

// Sets the option, or tells everything that is wrong with the value; then `options` stays as it
// was.
void option_read_value(const struct assignment *typed, struct option_report *report,
                       struct options *options);

// Adds what can be typed: "parallel|one-by-one", "auto|1..4", "auto|off|0x100..0xfff8",
// "all|1,3,5-8".
void option_add_values(const struct option *option, struct line *line);
