use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Years 1900 and 2200, between which the properties look.
const EARLY_MS: i64 = -2_208_988_800_000;
const LATE_MS: i64 = 7_258_118_400_000;

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect("a schedule")
}

fn at(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

/// The boundaries after `after`, in UTC to the second.
fn boundaries(text: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text);
    let first = schedule.next_after(at(after));
    std::iter::successors(Some(first), |last| Some(schedule.next_after(*last)))
        .take(count)
        .map(|boundary| boundary.rfc3339().replace(".000Z", "Z"))
        .collect()
}

#[test]
fn each_schedule_has_one_text() {
    for text in [
        "daily 00:00 UTC",
        "daily 02:00 Asia/Shanghai",
        "daily 23:00 America/Argentina/Buenos_Aires",
        "weekly mon 00:00 Europe/Berlin",
        "weekly sun 09:00 Etc/GMT+12",
        "monthly 1 00:00 UTC",
        "monthly 28 13:00 America/New_York",
    ] {
        let schedule = schedule(text);
        assert_eq!(schedule.to_string(), text);
        assert_eq!(serde_json::to_value(&schedule).expect("written"), serde_json::json!(text));
        assert_eq!(serde_json::from_value::<Schedule>(serde_json::json!(text)).expect("read"), schedule);
    }
}

#[test]
fn what_is_no_schedule_says_why() {
    let refused = |text: &str| Schedule::parse(text).expect_err("no schedule").to_string();
    for text in ["", "daily", "daily 02:00", "hourly 02:00 UTC", "weekly 02:00 UTC", "daily 02:00 UTC UTC"] {
        assert!(refused(text).contains("is no schedule"), "{text}: {}", refused(text));
    }
    assert!(refused("weekly monday 00:00 UTC").contains("\"monday\" is no day of the week"));
    for day in ["0", "29", "31", "-1", "256", "first"] {
        let said = refused(&format!("monthly {day} 00:00 UTC"));
        assert!(said.contains("is no day of every month"), "{said}");
    }
    for hour in ["24:00", "2", "02:30", "-1:00", ":00", "256:00"] {
        let said = refused(&format!("daily {hour} UTC"));
        assert!(said.contains("is no full hour"), "{said}");
    }
    for zone in ["Asia/Beijing", "Mars/Olympus", "Etc/Unknown", "+08:00", "../etc/passwd", "CST-8"] {
        let said = refused(&format!("daily 02:00 {zone}"));
        assert!(said.contains(&format!("{zone:?} is no time zone")), "{said}");
    }
    for text in [" daily 02:00 UTC", "daily  02:00 UTC", "daily 2:00 UTC", "daily +2:00 UTC", "daily 02:00 utc"] {
        assert_eq!(refused(text), "write this schedule as \"daily 02:00 UTC\"");
    }
    assert_eq!(refused("monthly 01 00:00 asia/shanghai"), "write this schedule as \"monthly 1 00:00 Asia/Shanghai\"");
}

#[test]
fn a_boundary_is_at_the_hour_of_the_zones_own_clock() {
    let shanghai = boundaries("daily 02:00 Asia/Shanghai", "2026-11-30T17:59:59.999Z", 3);
    assert_eq!(shanghai, ["2026-11-30T18:00:00Z", "2026-12-01T18:00:00Z", "2026-12-02T18:00:00Z"]);
    // On a boundary the next one is meant.
    assert_eq!(boundaries("daily 02:00 Asia/Shanghai", "2026-11-30T18:00:00Z", 1), ["2026-12-01T18:00:00Z"]);
    assert_eq!(
        boundaries("weekly mon 00:00 Europe/Berlin", "2026-10-20T00:00:00Z", 3),
        // Summer time ends on Sunday the 25th, an hour before the day does.
        ["2026-10-25T23:00:00Z", "2026-11-01T23:00:00Z", "2026-11-08T23:00:00Z"]
    );
    assert_eq!(
        boundaries("daily 00:00 America/New_York", "2026-03-07T12:00:00Z", 3),
        ["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", "2026-03-10T04:00:00Z"]
    );
}

#[test]
fn months_of_every_length_end_once() {
    assert_eq!(
        boundaries("monthly 1 00:00 UTC", "2027-12-31T23:59:59Z", 4),
        ["2028-01-01T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-04-01T00:00:00Z"]
    );
    assert_eq!(
        boundaries("monthly 28 23:00 UTC", "2027-02-28T23:00:00Z", 2),
        ["2027-03-28T23:00:00Z", "2027-04-28T23:00:00Z"]
    );
    assert_eq!(
        boundaries("monthly 28 00:00 Asia/Shanghai", "2028-02-27T15:59:59Z", 2),
        ["2028-02-27T16:00:00Z", "2028-03-27T16:00:00Z"]
    );
}

#[test]
fn a_skipped_local_time_is_the_next_instant_that_exists() {
    // Berlin goes from 02:00 to 03:00 at 01:00 UTC.
    assert_eq!(
        boundaries("daily 02:00 Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]
    );
    assert_eq!(
        boundaries("daily 02:00 America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]
    );
    // Lord Howe goes from 02:00 to 02:30 at 15:30 UTC of the day before.
    assert_eq!(
        boundaries("daily 02:00 Australia/Lord_Howe", "2026-10-02T16:00:00Z", 2),
        ["2026-10-03T15:30:00Z", "2026-10-04T15:00:00Z"]
    );
    // Troll goes from 01:00 to 03:00 at 01:00 UTC: two hours are missing, and 02:00 lies amidst them.
    assert_eq!(
        boundaries("daily 02:00 Antarctica/Troll", "2026-03-28T12:00:00Z", 2),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]
    );
    // Nuuk goes from 23:00 to midnight: the skipped hour ends on another date.
    assert_eq!(
        boundaries("daily 23:00 America/Nuuk", "2026-03-28T12:00:00Z", 3),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"]
    );
}

#[test]
fn of_a_doubled_local_time_the_first_counts() {
    assert_eq!(
        boundaries("daily 02:00 Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"]
    );
    // Between the two, and at the second, the day has had its boundary.
    for within in ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"] {
        assert_eq!(boundaries("daily 02:00 Europe/Berlin", within, 1), ["2026-10-26T01:00:00Z"]);
    }
    assert_eq!(
        boundaries("daily 01:00 America/New_York", "2026-10-31T12:00:00Z", 2),
        ["2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"]
    );
}

#[test]
fn a_day_that_a_zone_left_out_has_no_boundary_of_its_own() {
    // Apia went from the end of 29 December 2011 to 31 December, at 10:00 UTC of the 30th.
    for (text, expected) in [
        ("daily 00:00 Pacific/Apia", ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]),
        ("daily 05:00 Pacific/Apia", ["2011-12-29T15:00:00Z", "2011-12-30T15:00:00Z", "2011-12-31T15:00:00Z"]),
    ] {
        assert_eq!(boundaries(text, "2011-12-29T09:00:00Z", 3), expected, "{text}");
    }
    // The 30th was a Friday; its week begins when the clock goes on.
    assert_eq!(
        boundaries("weekly fri 05:00 Pacific/Apia", "2011-12-24T00:00:00Z", 2),
        ["2011-12-30T10:00:00Z", "2012-01-05T15:00:00Z"]
    );
}

#[test]
fn instants_beyond_the_calendar_are_borne() {
    let schedule = schedule("daily 02:00 Asia/Shanghai");
    assert_eq!(schedule.next_after(Instant(i64::MAX)), Instant(i64::MAX));
    assert_eq!(schedule.next_after(at("9999-12-31T00:00:00Z")), Instant(i64::MAX));
    let first = schedule.next_after(Instant(i64::MIN));
    assert!(first > Instant(i64::MIN) && first < Instant(-300_000_000_000_000), "{first:?}");
    // Local mean time, 8:05:43 ahead, until 1901.
    assert_eq!(boundaries("daily 00:00 Asia/Shanghai", "1890-01-01T00:00:00Z", 1), ["1890-01-01T15:54:17Z"]);
    assert_eq!(
        boundaries("daily 00:00 UTC", "1969-12-31T00:00:00Z", 2),
        ["1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"]
    );
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let names: Vec<&str> = vec![
        "UTC",
        "Asia/Shanghai",
        "Asia/Hong_Kong",
        "Asia/Kathmandu",
        "Europe/Berlin",
        "Europe/Dublin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Nuuk",
        "Africa/Casablanca",
        "Africa/Monrovia",
        "Asia/Gaza",
        "Asia/Tehran",
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "Pacific/Kiritimati",
        "Antarctica/Troll",
        "Australia/Lord_Howe",
    ];
    proptest::sample::select(names).prop_map(|name| Zone::named(name).expect("a zone"))
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let period = prop_oneof![
        Just(Period::Daily),
        proptest::sample::select(&Weekday::ALL[..]).prop_map(Period::Weekly),
        (1u8..=28).prop_map(Period::Monthly),
    ];
    (period, any_zone(), 0u8..24).prop_map(|(period, zone, hour)| Schedule::new(period, zone, hour).expect("valid"))
}

/// The local time there and then.
fn shows(schedule: &Schedule, instant: Instant) -> DateTime {
    schedule.zone.0.to_datetime(Timestamp::from_millisecond(instant.0).expect("within the calendar"))
}

proptest! {
    #[test]
    fn a_schedule_is_read_as_it_was_written(schedule in any_schedule()) {
        prop_assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule));
    }

    #[test]
    fn boundaries_grow_and_nothing_lies_between_them(schedule in any_schedule(), after in EARLY_MS..LATE_MS) {
        let first = schedule.next_after(Instant(after));
        prop_assert!(first > Instant(after));
        prop_assert_eq!(schedule.next_after(Instant(first.0 - 1)), first);
        let second = schedule.next_after(first);
        prop_assert!(second > first);
        // From any instant between two boundaries, the second is the next.
        for part in 0..8 {
            let between = first.0 + (second.0 - first.0) / 8 * part;
            prop_assert_eq!(schedule.next_after(Instant(between)), second);
        }
        let days_max = match schedule.period() {
            Period::Daily => 2,
            Period::Weekly(_) => 8,
            Period::Monthly(_) => 32,
        };
        prop_assert!(second.0 - first.0 <= days_max * DAY_MS);
    }

    #[test]
    fn each_day_week_and_month_has_exactly_one_boundary(schedule in any_schedule(), after in EARLY_MS..LATE_MS) {
        // A boundary's own date, a minute before and at it: it is first to show the hour of one scheduled date.
        let mut boundary = schedule.next_after(Instant(after));
        let mut last = None;
        for _ in 0..40 {
            let before = shows(&schedule, Instant(boundary.0 - 1_000));
            let at_boundary = shows(&schedule, boundary);
            let hour = i8::try_from(schedule.hour()).expect("an hour");
            let reached: Vec<Date> = std::iter::successors(Some(before.date()), |date| date.tomorrow().ok())
                .take_while(|date| *date <= at_boundary.date())
                .filter(|date| before < date.at(hour, 0, 0, 0) && date.at(hour, 0, 0, 0) <= at_boundary)
                .filter(|date| match schedule.period() {
                    Period::Daily => true,
                    Period::Weekly(day) => Weekday::of(*date) == day,
                    Period::Monthly(day) => u8::try_from(date.day()) == Ok(day),
                })
                .collect();
            let date = *reached.last().expect("the clock reaches a scheduled date here");
            if let Some(last) = last {
                let next = schedule.dates_from(last).nth(1).expect("within the calendar");
                // Only a day that is missing altogether has none.
                let missing = schedule.zone.first_at(next.at(0, 0, 0, 0)).map(|at| shows(&schedule, Instant(at.as_millisecond())).date()) != Some(next);
                prop_assert!(date == next || (missing && schedule.dates_from(next).nth(1) == Some(date)), "{} after {}", date, last);
            }
            last = Some(date);
            boundary = schedule.next_after(boundary);
        }
    }

    #[test]
    fn no_instant_breaks_it(schedule in any_schedule(), after in any::<i64>()) {
        let next = schedule.next_after(Instant(after));
        prop_assert!(next > Instant(after) || next == Instant(i64::MAX));
    }
}
