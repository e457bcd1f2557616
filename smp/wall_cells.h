// What the wall shows of a wake: each processor's place, how far it came, and when.
#pragma once

#include "machine.h"
#include "wake.h"
#include "wall.h"

// Fills `cells` for the BSP, every AP of the plan, and processors that no table lists, as far as
// there is room. NULL wake: nobody was woken yet. Returns how many.
size_t wall_cells(const struct machine *machine, const struct wake *wake, struct wall_cpu *cells,
                  size_t room);
