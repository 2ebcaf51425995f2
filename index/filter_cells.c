#include "index/filter_cells.h"

#include <math.h>

#include "index/field_key.h"

#define EARTH_RADIUS_METRES 6371008.8
#define DEGREES (180 / 3.14159265358979323846)
/* A little more than the shape: sums of degrees are rounded. */
#define MARGIN 1e-7

/* In degrees; west <= east. */
struct box {
    double west, south, east, north;
};

/* In the scale of keys. */
struct scaled {
    uint32_t west, south, east, north;
};

static struct scaled scale(const struct box *box)
{
    return (struct scaled){field_key_scale(box->west - MARGIN, -180, 360),
                           field_key_scale(box->south - MARGIN, -90, 180),
                           field_key_scale(box->east + MARGIN, -180, 360),
                           field_key_scale(box->north + MARGIN, -90, 180)};
}

static void add_range(struct filter_cells *cells, uint64_t first, uint64_t last)
{
    uint64_t *before = cells->count > 0 ? &cells->ranges[cells->count - 1].last : NULL;
    if (before != NULL && *before != UINT64_MAX && *before + 1 == first) {
        *before = last;
        return;
    }
    cells->ranges[cells->count].first = first;
    cells->ranges[cells->count].last = last;
    cells->count++;
}

/* A square of side 2^shift at (lon, lat), and the keys it takes. */
struct square {
    uint32_t lon, lat;
    unsigned shift;
    uint64_t first;
};

static bool touches(const struct square *square, const struct scaled *box)
{
    const uint64_t side = (UINT64_C(1) << square->shift) - 1;
    return square->lon <= box->east && square->lon + side >= box->west &&
           square->lat <= box->north && square->lat + side >= box->south;
}

static bool within(const struct square *square, const struct scaled *box)
{
    const uint64_t side = (UINT64_C(1) << square->shift) - 1;
    return square->lon >= box->west && square->lon + side <= box->east &&
           square->lat >= box->south && square->lat + side <= box->north;
}

/* Quarters of quarters, down to squares of side 2^least. */
static void cover(const struct square *square, const struct scaled *box, unsigned least,
                  struct filter_cells *cells)
{
    if (!touches(square, box))
        return;
    if (square->shift <= least || within(square, box)) {
        const uint64_t keys =
            square->shift == 32 ? UINT64_MAX : (UINT64_C(1) << 2 * square->shift) - 1;
        add_range(cells, square->first, square->first + keys);
        return;
    }
    const unsigned shift = square->shift - 1;
    for (unsigned i = 0; i < 4; i++) {
        const struct square quarter = {
            .lon = square->lon + ((i >> 1 & 1u) << shift),
            .lat = square->lat + ((i & 1u) << shift),
            .shift = shift,
            .first = square->first + ((uint64_t)i << 2 * shift),
        };
        cover(&quarter, box, least, cells);
    }
}

/* Squares of a quarter of the box's longer side: some 30 of them. */
static void cover_box(const struct box *box, struct filter_cells *cells)
{
    const struct scaled scaled = scale(box);
    const uint32_t width = scaled.east - scaled.west, height = scaled.north - scaled.south;
    uint32_t side = (width > height ? width : height) / 4;
    unsigned least = 0;
    for (; side > 1; side /= 2)
        least++;
    const struct square world = {0, 0, 32, 0};
    cover(&world, &scaled, least, cells);
}

static void box_around(struct geo_point center, double metres, struct box *box)
{
    const double angle = metres / EARTH_RADIUS_METRES;
    const double lat = angle * DEGREES;
    *box = (struct box){-180, center.lat - lat, 180, center.lat + lat};
    if (box->south <= -90 || box->north >= 90 || !(angle < 1.5))
        return; /* a pole is in it, so every longitude is */
    const double lon = asin(fmin(1, sin(angle) / cos(center.lat / DEGREES))) * DEGREES;
    box->west = center.lon - lon;
    box->east = center.lon + lon;
}

static void box_of_ring(const struct geo_ring *ring, struct box *box)
{
    *box = (struct box){HUGE_VAL, HUGE_VAL, -HUGE_VAL, -HUGE_VAL};
    for (size_t i = 0; i < ring->count; i++) {
        box->west = fmin(box->west, ring->points[i].lon);
        box->east = fmax(box->east, ring->points[i].lon);
        box->south = fmin(box->south, ring->points[i].lat);
        box->north = fmax(box->north, ring->points[i].lat);
    }
}

/* A shape that reaches over the edge of the map is two boxes. */
void filter_cells_of(const struct test *test, struct filter_cells *cells)
{
    struct box box, other;
    cells->count = 0;
    if (test->kind == TEST_GEO_RADIUS)
        box_around(test->radius.center, test->radius.metres, &box);
    else if (test->kind == TEST_GEO_POLYGON)
        box_of_ring(&test->polygon.exterior, &box);
    else
        box = (struct box){test->box.top_left.lon, test->box.bottom_right.lat,
                           test->box.bottom_right.lon, test->box.top_left.lat};
    if (!(box.south <= box.north))
        return; /* upside down: nothing is strictly inside */
    bool wraps = box.west > box.east || box.west < -180 || box.east > 180;
    if (!wraps) {
        cover_box(&box, cells);
        return;
    }
    other = box;
    if (box.west < -180) {
        other.west = box.west + 360;
        other.east = 180;
        box.west = -180;
    } else if (box.east > 180) {
        other.west = -180;
        other.east = box.east - 360;
        box.east = 180;
    } else {
        other.west = -180;
        box.east = 180;
    }
    cover_box(&box, cells);
    cover_box(&other, cells);
}
