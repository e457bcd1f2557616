// The colours of the screen: few, far apart in brightness as well as in hue, so that they differ
// for colour-blind eyes and in a photograph. Nothing is told by colour alone.
#pragma once

#define INK_PAPER 0x000000u
#define INK_TEXT  0xd8d8d8u
#define INK_FAINT 0x8a8a8au
#define INK_GOOD  0x56b4e9u // sky blue
#define INK_BAD   0xe69f00u // orange

// Stages, from dark to bright along the way; vermilion for who failed.
#define TILE_ASLEEP    0x3a3a3au
#define TILE_REAL      0x5d3a9bu // violet
#define TILE_PROTECTED 0x0072b2u // blue
#define TILE_LONG      0x009e73u // green
#define TILE_UP        0xf0e442u // yellow
#define TILE_GREETED   0x56b4e9u // sky blue
#define TILE_FAILED    0xd55e00u // vermilion
#define TILE_UNLISTED  0xcc79a7u // pink
