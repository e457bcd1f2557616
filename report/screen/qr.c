// The order of the standard: data bits, Reed-Solomon, patterns, zigzag, mask. Surprise: all eight
// masks are tried on the finished code and taken back by applying them again.

#include "qr.h"

#include "mem.h"

#define DARK    1u
#define PATTERN 2u // not data: no mask touches it

#define MODE_BYTES     4u
#define CODEWORDS_MOST 292u
#define ECC_MOST       30u
#define BLOCKS_MOST    2u

// Level L: codewords of data and of error correction in a block, how many blocks, and the centre of
// the middle and of the last alignment pattern (0: none).
static const struct version {
    uint8_t data, ecc, blocks, middle, last;
} versions[] = {
    {19, 7, 1, 0, 0},    {34, 10, 1, 0, 18},  {55, 15, 1, 0, 22},
    {80, 20, 1, 0, 26},  {108, 26, 1, 0, 30}, {68, 18, 2, 0, 34},
    {78, 20, 2, 22, 38}, {97, 24, 2, 24, 42}, {116, 30, 2, 26, 46},
};

#define VERSIONS (sizeof versions / sizeof versions[0])

// ---- Reed-Solomon over GF(256), x^8 + x^4 + x^3 + x^2 + 1 ----

static uint8_t multiply(uint8_t left, uint8_t right)
{
    uint32_t product = 0;
    for (int bit = 7; bit >= 0; bit--) {
        product = product << 1 ^ (product >> 7) * 0x11du;
        product ^= (uint32_t)(right >> bit & 1) * left;
    }
    return (uint8_t)product;
}

static void add_correction(const uint8_t *data, size_t count, uint8_t *ecc, size_t degree)
{
    uint8_t generator[ECC_MOST] = {0};
    uint8_t root = 1;

    // The product of (x - 2^i), its leading 1 left out, highest first.
    generator[degree - 1] = 1;
    for (size_t i = 0; i < degree; i++) {
        for (size_t j = 0; j < degree; j++) {
            generator[j] = multiply(generator[j], root);
            if (j + 1 < degree)
                generator[j] ^= generator[j + 1];
        }
        root = multiply(root, 2);
    }
    memset(ecc, 0, degree);
    for (size_t i = 0; i < count; i++) {
        const uint8_t factor = data[i] ^ ecc[0];
        memmove(ecc, ecc + 1, degree - 1);
        ecc[degree - 1] = 0;
        for (size_t j = 0; j < degree; j++)
            ecc[j] ^= multiply(generator[j], factor);
    }
}

// ---- codewords ----

struct bits {
    uint8_t *bytes;
    size_t count;
};

static void put_bits(struct bits *bits, uint32_t value, int width)
{
    while (width-- > 0) {
        bits->bytes[bits->count / 8] |= (uint8_t)((value >> width & 1) << (7 - bits->count % 8));
        bits->count++;
    }
}

// Data of all blocks in turn, then correction of all blocks in turn. Returns how many there are.
static size_t make_codewords(const struct version *version, const char *text, size_t length,
                             uint8_t *out)
{
    uint8_t data[CODEWORDS_MOST] = {0}, ecc[BLOCKS_MOST][ECC_MOST];
    struct bits bits = {data, 0};
    const size_t capacity = (size_t)version->data * version->blocks;
    size_t count = 0;

    put_bits(&bits, MODE_BYTES, 4);
    put_bits(&bits, (uint32_t)length, 8);
    for (size_t i = 0; i < length; i++)
        put_bits(&bits, (uint8_t)text[i], 8);
    put_bits(&bits, 0, 4); // the end; what is left of the last byte is 0 already
    for (size_t at = (bits.count + 7) / 8, pad = 0; at < capacity; at++, pad++)
        data[at] = pad % 2 ? 0x11 : 0xec;
    for (size_t block = 0; block < version->blocks; block++)
        add_correction(data + block * version->data, version->data, ecc[block], version->ecc);
    for (size_t i = 0; i < version->data; i++) {
        for (size_t block = 0; block < version->blocks; block++)
            out[count++] = data[block * version->data + i];
    }
    for (size_t i = 0; i < version->ecc; i++) {
        for (size_t block = 0; block < version->blocks; block++)
            out[count++] = ecc[block][i];
    }
    return count;
}

// ---- patterns ----

static void set_pattern(struct qr *qr, uint32_t x, uint32_t y, bool dark)
{
    qr->modules[y][x] = PATTERN | (dark ? DARK : 0);
}

static uint32_t distance(uint32_t left, uint32_t right)
{
    return left > right ? left - right : right - left;
}

// Rings around a centre; what would lie outside is left out (a finder's separator does).
static void draw_rings(struct qr *qr, uint32_t centre_x, uint32_t centre_y, uint32_t radius,
                       uint32_t light_rings)
{
    for (uint32_t y = 0; y < qr->side; y++) {
        for (uint32_t x = 0; x < qr->side; x++) {
            const uint32_t across = distance(x, centre_x), down = distance(y, centre_y);
            const uint32_t ring = across > down ? across : down;
            if (ring <= radius)
                set_pattern(qr, x, y, (light_rings >> ring & 1) == 0);
        }
    }
}

static void draw_alignment(struct qr *qr, const struct version *version)
{
    const uint32_t centres[] = {6, version->middle, version->last};

    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            const uint32_t x = centres[i], y = centres[j];
            const bool finder = (x == 6 && y == 6) || (x == 6 && y == version->last) ||
                                (y == 6 && x == version->last);
            if (x != 0 && y != 0 && !finder)
                draw_rings(qr, x, y, 2, 1u << 1);
        }
    }
}

// A value and its BCH remainder.
static uint32_t with_bch(uint32_t value, int degree, uint32_t polynomial)
{
    uint32_t rest = value << degree;
    for (int bit = 31; bit >= degree; bit--) {
        if (rest >> bit & 1)
            rest ^= polynomial << (bit - degree);
    }
    return value << degree | rest;
}

static void draw_format(struct qr *qr, uint32_t mask)
{
    const uint32_t level_l = 1, side = qr->side;
    const uint32_t bits = with_bch(level_l << 3 | mask, 10, 0x537) ^ 0x5412;

    for (uint32_t i = 0; i < 15; i++) {
        const bool dark = bits >> i & 1;
        // Down column 8 and along row 8, around the timing patterns; and once more, split.
        if (i < 8)
            set_pattern(qr, 8, i + (i >= 6), dark);
        else
            set_pattern(qr, i == 8 ? 7 : 14 - i, 8, dark);
        if (i < 8)
            set_pattern(qr, side - 1 - i, 8, dark);
        else
            set_pattern(qr, 8, side - 15 + i, dark);
    }
    set_pattern(qr, 8, side - 8, true);
}

static void draw_version(struct qr *qr, uint32_t number)
{
    const uint32_t bits = with_bch(number, 12, 0x1f25);

    for (uint32_t i = 0; number >= 7 && i < 18; i++) {
        set_pattern(qr, i / 3, qr->side - 11 + i % 3, bits >> i & 1);
        set_pattern(qr, qr->side - 11 + i % 3, i / 3, bits >> i & 1);
    }
}

static void draw_patterns(struct qr *qr, uint32_t number)
{
    const uint32_t side = qr->side, light = 1u << 2 | 1u << 4;

    for (uint32_t i = 0; i < side; i++) {
        set_pattern(qr, 6, i, i % 2 == 0);
        set_pattern(qr, i, 6, i % 2 == 0);
    }
    draw_rings(qr, 3, 3, 4, light);
    draw_rings(qr, side - 4, 3, 4, light);
    draw_rings(qr, 3, side - 4, 4, light);
    draw_alignment(qr, &versions[number - 1]);
    draw_format(qr, 0);
    draw_version(qr, number);
}

// ---- data ----

// Two columns at a time from the right, up and down in turn, around the vertical timing pattern.
static void place(struct qr *qr, const uint8_t *codewords, size_t count)
{
    const uint32_t side = qr->side;
    size_t bit = 0;

    for (uint32_t right = side - 1; right < side; right -= 2) {
        if (right == 6)
            right = 5;
        for (uint32_t step = 0; step < side; step++) {
            const bool up = ((right + 1) & 2) == 0;
            const uint32_t y = up ? side - 1 - step : step;
            for (uint32_t x = right; x + 1 >= right && x < side; x--) {
                if (qr->modules[y][x] & PATTERN)
                    continue;
                const uint32_t byte = bit / 8 < count ? codewords[bit / 8] : 0;
                qr->modules[y][x] = byte >> (7 - bit % 8) & DARK;
                bit++;
            }
        }
    }
}

static bool mask_inverts(uint32_t mask, uint32_t x, uint32_t y)
{
    switch (mask) {
    case 0:
        return (x + y) % 2 == 0;
    case 1:
        return y % 2 == 0;
    case 2:
        return x % 3 == 0;
    case 3:
        return (x + y) % 3 == 0;
    case 4:
        return (x / 3 + y / 2) % 2 == 0;
    case 5:
        return x * y % 2 + x * y % 3 == 0;
    case 6:
        return (x * y % 2 + x * y % 3) % 2 == 0;
    default:
        return ((x + y) % 2 + x * y % 3) % 2 == 0;
    }
}

static void apply_mask(struct qr *qr, uint32_t mask)
{
    for (uint32_t y = 0; y < qr->side; y++) {
        for (uint32_t x = 0; x < qr->side; x++) {
            if ((qr->modules[y][x] & PATTERN) == 0 && mask_inverts(mask, x, y))
                qr->modules[y][x] ^= DARK;
        }
    }
}

// The standard's penalties for runs of five and more and for squares of four, which is what makes a
// code hard to read; the rarer two would change the choice between nearly equal masks only.
static uint32_t penalty(const struct qr *qr)
{
    uint32_t points = 0;

    for (uint32_t line = 0; line < qr->side; line++) {
        uint32_t across = 0, down = 0;
        for (uint32_t at = 0; at < qr->side; at++) {
            across =
                at > 0 && qr_is_dark(qr, at, line) == qr_is_dark(qr, at - 1, line) ? across + 1 : 1;
            down =
                at > 0 && qr_is_dark(qr, line, at) == qr_is_dark(qr, line, at - 1) ? down + 1 : 1;
            points += across == 5 ? 3 : across > 5;
            points += down == 5 ? 3 : down > 5;
            // The second of two lines alike, for two modules and more: a square.
            if (line > 0 && across > 1 &&
                qr_is_dark(qr, at, line - 1) == qr_is_dark(qr, at, line) &&
                qr_is_dark(qr, at - 1, line - 1) == qr_is_dark(qr, at, line))
                points += 3;
        }
    }
    return points;
}

bool qr_is_dark(const struct qr *qr, uint32_t x, uint32_t y)
{
    return qr->modules[y][x] & DARK;
}

bool qr_make(struct qr *qr, const char *text, size_t length)
{
    uint8_t codewords[CODEWORDS_MOST];
    uint32_t number = 1, best = 0, least = UINT32_MAX;

    // Mode and length take 12 bits, the end 4.
    while (number <= VERSIONS &&
           length + 2 > (size_t)versions[number - 1].data * versions[number - 1].blocks)
        number++;
    if (number > VERSIONS)
        return false;
    memset(qr, 0, sizeof *qr);
    qr->side = 17 + 4 * number;
    const size_t count = make_codewords(&versions[number - 1], text, length, codewords);
    draw_patterns(qr, number);
    place(qr, codewords, count);
    for (uint32_t mask = 0; mask < 8; mask++) {
        apply_mask(qr, mask);
        draw_format(qr, mask);
        const uint32_t points = penalty(qr);
        apply_mask(qr, mask);
        if (points < least) {
            least = points;
            best = mask;
        }
    }
    apply_mask(qr, best);
    draw_format(qr, best);
    return true;
}
