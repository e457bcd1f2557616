// Starting a line of the report.

#include "report_line.h"

struct line *report_start_record(struct report_line *out, const char *event)
{
    record_start(&out->line, out->buffer, sizeof out->buffer, event);
    return &out->line;
}

struct line *report_start_sentence(struct report_line *out)
{
    line_start(&out->line, out->buffer, sizeof out->buffer);
    return &out->line;
}
