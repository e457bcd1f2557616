// Telling a problem: the one call for whoever has found something wrong.
#pragma once

#include "problem.h"

// `format` and what stands behind it are as line_add_format takes them; text from elsewhere, which
// may have a percent sign in it, goes in by "%s".
void problem_tell(const struct problems *problems, enum severity severity, const char *what,
                  const char *format, ...);
