// Host program: what a cause means, by the words that the image itself uses. `explain` lists all of
// them, `explain CAUSE` one; `explain --markdown` makes the table of docs/faults.md. For the tests,
// `explain --options` prints what `help` prints in the image, `explain --faults` the words of
// `inject=`.

#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "options.h"
#include "smp.h"

static void print_line(void *context, const char *line)
{
    (void)context;
    puts(line);
}

int main(int count, char **words)
{
    const int markdown = count > 1 && strcmp(words[1], "--markdown") == 0;
    int found = 0;

    if (count > 1 && strcmp(words[1], "--options") == 0) {
        options_help(print_line, NULL);
        return 0;
    }
    if (count > 1 && strcmp(words[1], "--faults") == 0) {
        for (uint32_t fault = 0; fault < FAULT_KINDS; fault++)
            puts(fault_word((enum fault_kind)fault));
        return 0;
    }
    for (enum smp_cause cause = SMP_CAUSE_NONE + 1; cause < SMP_CAUSES; cause++) {
        const char *word = smp_cause_word(cause), *story = smp_cause_story(cause);
        const char *advice = cause_advice(cause);
        if (markdown)
            printf("| `%s` | %s | %s |\n", word, story, advice);
        else if (count < 2 || strcmp(words[1], word) == 0)
            printf("%s: %s.\n  Look next: %s\n", word, story, advice);
        else
            continue;
        found = 1;
    }
    if (!found)
        fprintf(stderr, "explain: no cause \"%s\"; without a word it lists them all\n", words[1]);
    return !found;
}
