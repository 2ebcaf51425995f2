#include "index/filter_cells.h"

#include <assert.h>
#include <math.h>

#include "index/field_key.h"

#define EARTH_RADIUS_METRES 6371008.8
#define DEGREES (180 / 3.14159265358979323846)
/* A little more than the shape: sums of degrees are rounded. */
#define MARGIN 1e-7
#define MARGIN_METRES 0.1
/* The longer side of a box is 8 to 32 squares, each of which is one key (field_key_levels). */
#define SQUARES_ALONG 16u
/* Of a polygon with more edges, nothing is said to be inside: each square would ask them all. */
#define POLYGON_EDGES_MAX 512u

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

static void add_range(struct filter_cells *cells, uint64_t first, uint64_t last, bool sure)
{
    const size_t at = cells->count - 1;
    if (cells->count > 0 && cells->ranges[at].last != UINT64_MAX &&
        cells->ranges[at].last + 1 == first && cells->ranges[at].sure == sure) {
        cells->ranges[at].last = last;
        return;
    }
    assert(cells->count < FILTER_CELLS_MAX);
    cells->ranges[cells->count].first = first;
    cells->ranges[cells->count].last = last;
    cells->ranges[cells->count].sure = sure;
    cells->count++;
}

/* ---- what lies inside as a whole ---- */

static bool inside_box(const struct test *test, const struct box *square)
{
    const double left = test->box.top_left.lon, right = test->box.bottom_right.lon;
    const bool lon = left > right ? square->west > left || square->east < right
                                  : square->west > left && square->east < right;
    return lon && square->north < test->box.top_left.lat &&
           square->south > test->box.bottom_right.lat;
}

/* A circle of less than half the world is convex, so its corners speak for a square but for the
 * parallels, which bulge from the shortest ways between them. */
static bool inside_circle(const struct test *test, const struct box *square)
{
    const double across = (square->east - square->west) / DEGREES;
    const double bulge = EARTH_RADIUS_METRES * across * across / 8;
    const double metres = test->radius.metres - bulge - MARGIN_METRES;
    if (test->radius.metres > EARTH_RADIUS_METRES)
        return false;
    const struct geo_point corners[] = {{square->west, square->south},
                                        {square->west, square->north},
                                        {square->east, square->south},
                                        {square->east, square->north}};
    for (size_t i = 0; i < 4; i++)
        if (!(geo_metres(test->radius.center, corners[i]) < metres))
            return false;
    return true;
}

/* Might a line between two points touch the square? */
static bool may_cross(struct geo_point a, struct geo_point b, const struct box *square)
{
    if (fmax(a.lon, b.lon) < square->west || fmin(a.lon, b.lon) > square->east ||
        fmax(a.lat, b.lat) < square->south || fmin(a.lat, b.lat) > square->north)
        return false;
    const double lon = b.lon - a.lon, lat = b.lat - a.lat;
    const double east = square->east - a.lon, west = square->west - a.lon;
    const double north = square->north - a.lat, south = square->south - a.lat;
    const double sides[] = {lon * south - lat * west, lon * south - lat * east,
                            lon * north - lat * west, lon * north - lat * east};
    bool left = true, right = true;
    for (size_t i = 0; i < 4; i++) {
        left &= sides[i] > 0;
        right &= sides[i] < 0;
    }
    return !left && !right;
}

static bool ring_crosses(const struct geo_ring *ring, const struct box *square)
{
    for (size_t i = 0; i + 1 < ring->count; i++)
        if (may_cross(ring->points[i], ring->points[i + 1], square))
            return true;
    return false;
}

static bool inside_polygon(const struct test *test, const struct box *square)
{
    const struct geo_polygon *polygon = &test->polygon;
    size_t edges = polygon->exterior.count;
    for (size_t i = 0; i < polygon->interior_count; i++)
        edges += polygon->interiors[i].count;
    if (edges > POLYGON_EDGES_MAX || ring_crosses(&polygon->exterior, square))
        return false;
    for (size_t i = 0; i < polygon->interior_count; i++)
        if (ring_crosses(&polygon->interiors[i], square))
            return false;
    const struct geo_point middle = {(square->west + square->east) / 2,
                                     (square->south + square->north) / 2};
    return geo_holds(test, middle);
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

/* Are all places of a square inside? The rounding of scales and tests is left aside. */
static bool inside(const struct test *test, const struct square *square)
{
    const double unit = 1 / 4294967296.0, side = (double)(UINT64_C(1) << square->shift);
    const struct box box = {
        .west = (double)square->lon * unit * 360 - 180 - MARGIN,
        .south = (double)square->lat * unit * 180 - 90 - MARGIN,
        .east = ((double)square->lon + side) * unit * 360 - 180 + MARGIN,
        .north = ((double)square->lat + side) * unit * 180 - 90 + MARGIN,
    };
    return test->kind == TEST_GEO_BOX      ? inside_box(test, &box)
           : test->kind == TEST_GEO_RADIUS ? inside_circle(test, &box)
                                           : inside_polygon(test, &box);
}

/* Quarters of quarters, down to squares of side 2^least. */
static void cover(const struct test *test, const struct square *square, const struct scaled *box,
                  unsigned least, struct filter_cells *cells)
{
    if (!touches(square, box))
        return;
    const bool sure = inside(test, square);
    if (square->shift <= least || sure) {
        const uint64_t keys =
            square->shift == 32 ? UINT64_MAX : (UINT64_C(1) << 2 * square->shift) - 1;
        add_range(cells, square->first, square->first + keys, sure);
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
        cover(test, &quarter, box, least, cells);
    }
}

static void cover_box(const struct test *test, const struct box *box, struct filter_cells *cells)
{
    const struct scaled scaled = scale(box);
    const uint32_t width = scaled.east - scaled.west, height = scaled.north - scaled.south;
    uint32_t side = (width > height ? width : height) / SQUARES_ALONG;
    unsigned least = 0;
    for (; side > 1; side /= 2)
        least++;
    least += least & 1;
    least = least < FIELD_PLACE_BITS_LEAST / 2 ? FIELD_PLACE_BITS_LEAST / 2 : least;
    const struct square world = {0, 0, 32, 0};
    cover(test, &world, &scaled, least, cells);
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
        cover_box(test, &box, cells);
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
    cover_box(test, &box, cells);
    cover_box(test, &other, cells);
}
