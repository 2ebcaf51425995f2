/* Geometry of filters: boxes, circles and polygons in degrees. */
#include "index/filter_tree.h"

#include <math.h>

#define EARTH_RADIUS_METRES 6371008.8 /* mean, as the IUGG recommends */
#define RADIANS (3.14159265358979323846 / 180)

static bool coordinate_of(struct span object, const char *name, double *v)
{
    struct span value = value_get(object, span_text(name));
    enum value_kind kind = value_kind(value);
    if (kind != VALUE_INTEGER && kind != VALUE_UNSIGNED && kind != VALUE_DOUBLE)
        return false;
    *v = value_double(value);
    return isfinite(*v);
}

bool geo_point_of(struct span value, struct geo_point *point)
{
    return value_kind(value) == VALUE_OBJECT && coordinate_of(value, "lon", &point->lon) &&
           coordinate_of(value, "lat", &point->lat);
}

double geo_metres(struct geo_point a, struct geo_point b)
{
    double half_lat = sin((b.lat - a.lat) * RADIANS / 2);
    double half_lon = sin((b.lon - a.lon) * RADIANS / 2);
    double h =
        half_lat * half_lat + cos(a.lat * RADIANS) * cos(b.lat * RADIANS) * half_lon * half_lon;
    return 2 * EARTH_RADIUS_METRES * asin(sqrt(h < 1 ? h : 1));
}

/* Strictly inside; a box whose left is east of its right crosses the antimeridian. */
static bool in_box(const struct test *test, struct geo_point point)
{
    double left = test->box.top_left.lon, right = test->box.bottom_right.lon;
    bool lon = left > right ? point.lon > left || point.lon < right
                            : point.lon > left && point.lon < right;
    return lon && point.lat < test->box.top_left.lat && point.lat > test->box.bottom_right.lat;
}

static bool between(double v, double a, double b)
{
    return (a <= v && v <= b) || (b <= v && v <= a);
}

/* Even-odd rule; on_edge is the answer for points on the ring itself. */
static bool in_ring(const struct geo_ring *ring, struct geo_point point, bool on_edge)
{
    bool inside = false;
    for (size_t i = 0; i + 1 < ring->count; i++) {
        struct geo_point a = ring->points[i], b = ring->points[i + 1];
        double cross =
            (b.lon - a.lon) * (point.lat - a.lat) - (b.lat - a.lat) * (point.lon - a.lon);
        if (cross == 0 && between(point.lon, a.lon, b.lon) && between(point.lat, a.lat, b.lat))
            return on_edge;
        if ((a.lat > point.lat) != (b.lat > point.lat) &&
            point.lon < (b.lon - a.lon) * (point.lat - a.lat) / (b.lat - a.lat) + a.lon)
            inside = !inside;
    }
    return inside;
}

/* Inside the exterior and in none of the holes; edges are outside, of holes too. */
static bool in_polygon(const struct geo_polygon *polygon, struct geo_point point)
{
    if (!in_ring(&polygon->exterior, point, false))
        return false;
    for (size_t i = 0; i < polygon->interior_count; i++)
        if (in_ring(&polygon->interiors[i], point, true))
            return false;
    return true;
}

bool geo_holds(const struct test *test, struct geo_point point)
{
    if (test->kind == TEST_GEO_BOX)
        return in_box(test, point);
    if (test->kind == TEST_GEO_RADIUS)
        return geo_metres(test->radius.center, point) < test->radius.metres;
    return in_polygon(&test->polygon, point);
}
