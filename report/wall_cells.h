// What the wall shows of a wake: each processor's place, how far it came, and when.
#pragma once

#include "clock.h"
#include "evidence.h"
#include "inventory.h"
#include "wall.h"

// Fills `cells` for every processor of the inventory, in its order, and then for those that started
// and are not in it, as far as there is room. One that was not to be woken is asleep; one that
// started all the same, in the inventory or not, is unlisted. NULL evidence: nobody was woken yet.
// Returns how many.
size_t wall_cells(const struct inventory *inventory, const struct evidence *evidence,
                  const struct clock *clock, struct wall_cpu *cells, size_t room);
