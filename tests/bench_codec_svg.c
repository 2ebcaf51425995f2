/* The picture: left, errors as multiples of the Shannon bound 4^-b; right, the noise that ranks
 * near neighbours wrongly. Both on logarithmic scales, a curve a scheme. */
#include "tests/bench_codec_svg.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct curve {
    const char *name;  /* as coder.name */
    const char *label; /* in the legend */
    const char *colour, *dash;
    double width;
};

/* Drawn in this order, kith last and on top. */
static const struct curve curves[] = {
    {"random projections, ML", "random projections, both sides coded", "#9a9a9a", "2 4", 1.8},
    {"TurboQuant_prod Gauss", "TurboQuant_prod, Gaussian sketch", "#0f7a5a", "", 1.8},
    {"TurboQuant_prod orth.", "TurboQuant_prod, orthonormal sketch", "#3db58f", "", 1.8},
    {"TurboQuant_mse", "TurboQuant_mse", "#2b6cb0", "", 1.8},
    {"EDEN biased", "EDEN, biased", "#8e5bb5", "7 4", 1.8},
    {"matched norm", "matched norm", "#b8860b", "2 3", 1.8},
    {"RaBitQ grid", "RaBitQ, best step a vector", "#e07b39", "", 1.8},
    {"EDEN unbiased", "EDEN, unbiased (floats, no search)", "#c0392b", "5 4", 1.4},
    {"kith", "kith (1, 1.5, 2, 4, 8 bits)", "#c0392b", "", 3.2},
};
#define CURVES (sizeof curves / sizeof *curves)

struct panel {
    double left, top, width, height;
    double low, high; /* of y, which is logarithmic */
    const char *title, *subtitle;
    bool noise;
};

static const double first_bits = 0.75, last_bits = 8.25;
static const double cosine_square = 0.81;

void picture_add(struct picture *picture, const struct coder *coder,
                 const struct coder_figures *figures)
{
    assert(picture->count < PICTURE_POINTS);
    picture->points[picture->count++] =
        (struct picture_point){coder->name, coder_bits(coder), figures->error, figures->noise[2]};
}

static double x_of(const struct panel *panel, double bits)
{
    return panel->left + panel->width * (bits - first_bits) / (last_bits - first_bits);
}

static double y_of(const struct panel *panel, double value)
{
    return panel->top + panel->height * log(panel->high / value) / log(panel->high / panel->low);
}

static double value_of(const struct panel *panel, const struct picture_point *point)
{
    return panel->noise ? point->noise : point->error * pow(4.0, point->bits);
}

static void draw_text(FILE *file, double x, double y, const char *style, const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, style, text);
}

static void draw_line(FILE *file, double x1, double y1, double x2, double y2, const char *style)
{
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2,
            style);
}

static void draw_grid(FILE *file, const struct panel *panel)
{
    static const double ticks[] = {1,    2,    5,    10,   20,   1e-1, 1e-2,
                                   1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 3e-1, 5e-1};
    char text[96];
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks; i++) {
        if (ticks[i] < panel->low * 0.999 || ticks[i] > panel->high * 1.001 ||
            (panel->noise && (ticks[i] > 0.1 && ticks[i] < 1))) {
            continue;
        }
        const double y = y_of(panel, ticks[i]);
        draw_line(file, panel->left, y, panel->left + panel->width, y, "stroke=\"#e6e6e6\"");
        if (ticks[i] >= 1) {
            snprintf(text, sizeof text, "%g%s", ticks[i], panel->noise ? "" : "\303\227");
        } else {
            snprintf(text, sizeof text, "10<tspan dy=\"-5\" font-size=\"9\">\342\210\222%d</tspan>",
                     (int)lround(-log10(ticks[i])));
        }
        draw_text(file, panel->left - 8, y + 4, "class=\"tick\" text-anchor=\"end\"", text);
    }
    for (int bits = 1; bits <= 8; bits++) {
        const double x = x_of(panel, bits), bottom = panel->top + panel->height;
        draw_line(file, x, panel->top, x, bottom, "stroke=\"#f1f1f1\"");
        snprintf(text, sizeof text, "%d", bits);
        draw_text(file, x, bottom + 18, "class=\"tick\" text-anchor=\"middle\"", text);
    }
    draw_line(file, panel->left, panel->top + panel->height, panel->left + panel->width,
              panel->top + panel->height, "stroke=\"#888\"");
    draw_text(file, panel->left + panel->width / 2, panel->top + panel->height + 36,
              "class=\"tick\" text-anchor=\"middle\"", "bits a dimension");
    draw_text(file, panel->left, panel->top - 32, "class=\"title\"", panel->title);
    draw_text(file, panel->left, panel->top - 14, "class=\"tick\"", panel->subtitle);
}

/* What no code of b bits can go below: 1, or the noise an unbiased one of that error would have. */
static void draw_bound(FILE *file, const struct panel *panel)
{
    fprintf(file, "<polyline fill=\"none\" stroke=\"#333\" stroke-width=\"1.4\" "
                  "stroke-dasharray=\"9 4\" points=\"");
    for (double bits = 1.0; bits <= 8.001; bits += 0.25) {
        const double error = pow(4.0, -bits);
        const double noise = (1.0 - cosine_square) * error / (1.0 - error);
        fprintf(file, "%.1f,%.1f ", x_of(panel, bits), y_of(panel, panel->noise ? noise : 1.0));
    }
    fprintf(file, "\"/>\n");
}

static void draw_curve(FILE *file, const struct panel *panel, const struct picture *picture,
                       const struct curve *curve)
{
    const bool kith = strcmp(curve->name, "kith") == 0;
    fprintf(file,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" "
            "stroke-linejoin=\"round\" stroke-dasharray=\"%s\" points=\"",
            curve->colour, curve->width, curve->dash);
    for (size_t i = 0; i < picture->count; i++) {
        const struct picture_point *point = &picture->points[i];
        if (strcmp(point->name, curve->name) == 0 && value_of(panel, point) > 0.0 &&
            point->bits == floor(point->bits)) { /* 1.5 bits stand alone */
            fprintf(file, "%.1f,%.1f ", x_of(panel, point->bits),
                    y_of(panel, value_of(panel, point)));
        }
    }
    fprintf(file, "\"/>\n");
    for (size_t i = 0; i < picture->count; i++) {
        const struct picture_point *point = &picture->points[i];
        if (strcmp(point->name, curve->name) == 0 && value_of(panel, point) > 0.0 &&
            strcmp(curve->name, "EDEN unbiased") != 0) {
            fprintf(file,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\" stroke=\"#fff\"/>\n",
                    x_of(panel, point->bits), y_of(panel, value_of(panel, point)),
                    kith ? "5.5" : "3.2", curve->colour);
        }
    }
}

static void draw_legend(FILE *file, double left, double top)
{
    char style[160];
    for (size_t i = 0; i <= CURVES; i++) { /* kith first, the bound last */
        const struct curve bound = {"", "Shannon: no code does better", "#333", "9 4", 1.4};
        const struct curve *curve = i < CURVES ? &curves[CURVES - 1 - i] : &bound;
        const double x = left + (double)(i % 3) * 300, y = top + (double)(i / 3) * 22;
        snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%.1f\" stroke-dasharray=\"%s\"",
                 curve->colour, curve->width, curve->dash);
        draw_line(file, x, y - 4, x + 30, y - 4, style);
        draw_text(file, x + 38, y, i == 0 ? "class=\"kith\"" : "class=\"label\"", curve->label);
    }
}

void picture_write(const struct picture *picture, const char *path)
{
    const struct panel panels[] = {
        {64, 74, 390, 330, 0.9, 22, "How far from the best possible code",
         "mean error |x\342\200\262 \342\210\222 x|\302\262 / |x|\302\262 as a multiple of "
         "Shannon\342\200\231s 4\342\201\273\341\265\207",
         false},
        {560, 74, 390, 330, 2e-6, 1.2, "Noise between near neighbours",
         "d \302\267 variance of estimates at cosine 0.9, each scheme\342\200\231s bias taken out",
         true},
    };
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 980 548\" width=\"980\" "
                  "height=\"548\" font-family=\"Helvetica, Arial, sans-serif\">\n"
                  "<style>.title{font-size:16px;font-weight:600;fill:#222}.tick{font-size:12px;"
                  "fill:#555}.label{font-size:12.5px;fill:#333}.kith{font-size:12.5px;"
                  "font-weight:700;fill:#c0392b}</style>\n"
                  "<rect width=\"980\" height=\"548\" rx=\"8\" fill=\"#fff\"/>\n");
    for (size_t p = 0; p < sizeof panels / sizeof *panels; p++) {
        draw_grid(file, &panels[p]);
        draw_bound(file, &panels[p]);
        for (size_t i = 0; i < CURVES; i++) {
            draw_curve(file, &panels[p], picture, &curves[i]);
        }
    }
    draw_legend(file, 64, 470);
    char text[96];
    snprintf(text, sizeof text, "Gaussian vectors, %u dims; make bench-codec", picture->dim);
    draw_text(file, 950, 537, "class=\"tick\" text-anchor=\"end\"", text);
    fprintf(file, "</svg>\n");
    if (fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}
