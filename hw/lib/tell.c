// A problem's sentence, put together on the stack of whoever tells it. For the BSP alone: an AP's
// interrupt stack has no room for a line.

#include "tell.h"

#include "line.h"

void problem_tell(const struct problems *problems, enum severity severity, const char *what,
                  const char *format, ...)
{
    char buffer[LINE_BYTES];
    struct line line;
    va_list arguments;

    line_start(&line, buffer, sizeof buffer);
    va_start(arguments, format);
    line_add_arguments(&line, format, arguments);
    va_end(arguments);
    problems->tell(problems->context, severity, what, buffer);
}
