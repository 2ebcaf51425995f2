#include "index/datetime.h"

struct reader {
    const uint8_t *next, *end;
};

static bool is_digit(const struct reader *reader)
{
    return reader->next < reader->end && *reader->next >= '0' && *reader->next <= '9';
}

static bool take(struct reader *reader, char c)
{
    if (reader->next == reader->end || *reader->next != (uint8_t)c)
        return false;
    reader->next++;
    return true;
}

/* least to most digits, no more than max. */
static bool take_number(struct reader *reader, int least, int most, int64_t max, int64_t *number)
{
    int digits = 0;
    *number = 0;
    for (; digits < most && is_digit(reader); digits++)
        *number = *number * 10 + (*reader->next++ - '0');
    return digits >= least && *number <= max;
}

/* Microseconds of a fraction; further digits are read over. */
static bool take_fraction(struct reader *reader, int64_t *microseconds)
{
    int64_t unit = 100000;
    bool any = false;
    *microseconds = 0;
    for (; is_digit(reader); reader->next++, any = true) {
        *microseconds += (*reader->next - '0') * unit;
        unit /= 10;
    }
    return any;
}

/* What follows the time, in minutes east; nothing is 0. */
static bool take_offset(struct reader *reader, int64_t *minutes)
{
    int64_t hours, rest = 0;
    *minutes = 0;
    if (reader->next == reader->end || take(reader, 'Z') || take(reader, 'z'))
        return reader->next == reader->end;
    bool blank = take(reader, ' ');
    if (blank && take(reader, 'U'))
        return take(reader, 'T') && take(reader, 'C') && reader->next == reader->end;
    bool west = take(reader, '-');
    if (!west && !take(reader, '+'))
        return false;
    if (!take_number(reader, 2, 2, 23, &hours))
        return false;
    bool colon = take(reader, ':');
    if ((colon || is_digit(reader)) && !take_number(reader, 2, 2, 59, &rest))
        return false;
    *minutes = (west ? -1 : 1) * (hours * 60 + rest);
    return reader->next == reader->end;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Hinnant, days_from_civil). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_date(struct reader *reader, int64_t *days)
{
    int64_t year, month, day;
    if (!take_number(reader, 4, 4, 9999, &year) || !take(reader, '-') ||
        !take_number(reader, 1, 2, 12, &month) || !take(reader, '-') ||
        !take_number(reader, 1, 2, 31, &day) || year < 1 || month < 1 || day < 1 ||
        day > month_days(year, month))
        return false;
    *days = days_of(year, month, day);
    return true;
}

/* HH:MM, HH:MM:SS or with a fraction. An offset needs seconds. A leap second is the next one. */
static bool take_time(struct reader *reader, int64_t *microseconds)
{
    int64_t hour, minute, second = 0, fraction = 0, offset = 0;
    if (!take_number(reader, 1, 2, 23, &hour) || !take(reader, ':') ||
        !take_number(reader, 1, 2, 59, &minute))
        return false;
    if (reader->next < reader->end) {
        if (!take(reader, ':') || !take_number(reader, 1, 2, 60, &second) ||
            (take(reader, '.') && !take_fraction(reader, &fraction)) ||
            !take_offset(reader, &offset))
            return false;
    }
    *microseconds = ((hour * 60 + minute - offset) * 60 + second) * 1000000 + fraction;
    return true;
}

bool datetime_parse(struct span text, int64_t *microseconds)
{
    struct reader reader = {text.data, text.data + text.bytes};
    int64_t days, time = 0;
    while (reader.next < reader.end && (*reader.next == ' ' || *reader.next == '\t'))
        reader.next++;
    if (!take_date(&reader, &days))
        return false;
    if (reader.next < reader.end &&
        ((!take(&reader, 'T') && !take(&reader, 't') && !take(&reader, ' ')) ||
         !take_time(&reader, &time)))
        return false;
    *microseconds = days * INT64_C(86400000000) + time;
    return true;
}
