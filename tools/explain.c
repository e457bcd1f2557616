// Host program: what a cause means, by the words that the image itself uses. `explain` lists all of
// them, `explain CAUSE` one; `explain --markdown` makes the table of docs/faults.md.

#include <stdio.h>
#include <string.h>

#include "verdict.h"

int main(int count, char **words)
{
    const int markdown = count > 1 && strcmp(words[1], "--markdown") == 0;
    int found = 0;

    for (enum cause cause = CAUSE_NEVER_FETCHED; cause < CAUSE_COUNT; cause++) {
        if (markdown)
            printf("| `%s` | %s | %s |\n", cause_word(cause), cause_story(cause),
                   cause_advice(cause));
        else if (count < 2 || strcmp(words[1], cause_word(cause)) == 0)
            printf("%s: %s.\n  Look next: %s\n", cause_word(cause), cause_story(cause),
                   cause_advice(cause));
        else
            continue;
        found = 1;
    }
    if (!found)
        fprintf(stderr, "explain: no cause \"%s\"; without a word it lists them all\n", words[1]);
    return !found;
}
