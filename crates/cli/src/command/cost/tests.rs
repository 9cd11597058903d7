use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::*;

const PAGE: &str = include_str!("../../../../../docs/costs.md");
const FILE: &str = include_str!("prices.json");

/// The default of each option.
fn of(hosts: u64) -> Fleet {
    Fleet {
        hosts,
        interval: Duration::from_mins(10),
        regions: 1,
        sweep_every: Duration::from_mins(1),
        keys: 1,
        notices: 0,
        sms: 0,
        canaries: true,
        name: true,
        edge: false,
    }
}

fn two(hosts: u64) -> Fleet {
    Fleet {
        regions: 2,
        ..of(hosts)
    }
}

fn bill(fleet: &Fleet) -> Vec<Item> {
    Month::of(fleet).bill()
}

fn dollars(items: &[Item]) -> f64 {
    items.iter().map(|item| item.dollars).sum()
}

/// Amounts by cause and unit.
fn uses(fleet: &Fleet) -> BTreeMap<(&'static str, &'static str), f64> {
    let items = bill(fleet).into_iter();
    items
        .map(|item| ((item.cause, item.price.unit.as_str()), item.amount))
        .collect()
}

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a}, not {b}");
}

#[test]
fn units_are_distinct_and_each_price_has_an_origin() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let prices = file["prices"].as_object().unwrap();
    let mut units: Vec<_> = prices.values().map(|price| &price["unit"]).collect();
    units.sort_by_key(ToString::to_string);
    units.dedup();
    assert_eq!(units.len(), prices.len());
    for (name, price) in prices {
        let (date, source) = (price["date"].as_str().unwrap(), &price["source"]);
        let looked_up = source.as_str().unwrap().starts_with("https://") && date.len() == 10;
        assert!(looked_up || date == "2025" && source == "", "{name}");
    }
}

#[test]
fn a_price_falls_for_what_is_beyond_its_steps() {
    let requests = &DATA.prices.requests;
    close(requests.of(0.0), 0.0);
    close(requests.of(300.0), 300.0);
    close(requests.of(400.0), 300.0 + 100.0 * 0.90);
    let out = &DATA.prices.out;
    close(out.of(10_240.0 + 40_960.0 + 1.0), 921.6 + 3_481.6 + 0.07);
}

#[test]
fn the_steps_of_a_price_count_what_all_causes_use_in_a_region() {
    let items = bill(&two(1_000_000));
    let requests: Vec<_> = items
        .iter()
        .filter(|item| item.price.unit == DATA.prices.requests.unit)
        .collect();
    let amount: f64 = requests.iter().map(|item| item.amount).sum();
    let paid: f64 = requests.iter().map(|item| item.dollars).sum();
    assert_eq!(requests.len(), 3, "beats, canaries, checks");
    close(paid, 600.0 + (amount - 600.0) * 0.90);
}

#[test]
fn a_second_region_writes_each_beat_again_and_sends_it_there() {
    let (one, both) = (uses(&of(1_000)), uses(&two(1_000)));
    let writes = ("beats", "million write units");
    close(one[&writes], 1_000.0 * 4_380.0 / 1e6);
    close(both[&writes], one[&writes] * 2.0);
    let between = ("beats", "GB between regions");
    assert!(!one.contains_key(&between) && both[&between] > 0.0);
    let requests = ("beats", "million gateway requests");
    close(both[&requests], one[&requests]);
}

#[test]
fn hosts_are_read_as_often_as_they_are_swept_and_time_allows() {
    let every = |hosts, seconds| {
        uses(&Fleet {
            sweep_every: Duration::from_secs(seconds),
            ..of(hosts)
        })
    };
    let reads = ("sweeps", "million read units");
    for (seconds, times) in [(60, 1.0), (30, 2.0), (25, 3.0), (10, 6.0)] {
        close(
            every(1_000, seconds)[&reads],
            every(1_000, 60)[&reads] * times,
        );
        // A pass over a million hosts takes more than a minute.
        close(
            every(1_000_000, seconds)[&reads],
            every(1_000_000, 60)[&reads],
        );
    }
    // A start ends after 70 s, whatever is left.
    let time = ("sweeps", "million GB-seconds");
    close(every(10_000_000, 60)[&time], 43_800.0 * 70.0 / 8.0 / 1e6);
    // Each segment is half a unit at least.
    close(uses(&of(0))[&reads], uses(&of(100))[&reads]);
}

#[test]
fn options_leave_out_and_add_what_they_name() {
    let all = uses(&two(1_000));
    let causes = |uses: &BTreeMap<(&'static str, _), f64>, cause| {
        uses.keys().filter(|(of, _)| *of == cause).count()
    };
    let quiet = uses(&Fleet {
        canaries: false,
        ..two(1_000)
    });
    assert_eq!(
        (causes(&all, "canaries"), causes(&quiet, "canaries")),
        (7, 0)
    );
    let alarms = ("fixed", "alarms");
    close(all[&alarms] - quiet[&alarms], 2.0 * 3.0);
    close(all[&alarms] - uses(&of(1_000))[&alarms] * 2.0, 2.0);

    let nameless = uses(&Fleet {
        name: false,
        ..two(1_000)
    });
    assert_eq!(
        (causes(&all, "checks"), causes(&nameless, "checks")),
        (7, 0)
    );
    close(all[&("checks", "million gateway requests")], 2.0 * 0.5256);
    close(all[&("fixed", "KMS keys")], 3.0);
    close(nameless[&("fixed", "KMS keys")], 2.0);
    assert!(!nameless.contains_key(&("fixed", "zones")));

    let edge = uses(&Fleet {
        edge: true,
        ..two(1_000)
    });
    assert_eq!((causes(&all, "edge"), causes(&edge, "edge")), (0, 5));
    let out = ("beats", "GB to the internet");
    close(edge[&("beats", "GB out of CloudFront")], all[&out]);
    assert!(!edge.contains_key(&out));
}

#[test]
fn a_key_is_read_once_a_minute_and_environment_but_not_more_often_than_it_beats() {
    let reads = |hosts, keys| uses(&Fleet { keys, ..of(hosts) })[&("beats", "million read units")];
    close(reads(1_000, 1), 43_800.0 / 1e6);
    close(reads(1_000, 10), 438_000.0 / 1e6);
    close(reads(1_000, 1_000), 4_380_000.0 / 1e6);
    // 1,667 beats a second, 5 ms each, ten times as many at once.
    close(reads(1_000_000, 1), 84.0 * 43_800.0 / 1e6);
}

#[test]
fn a_notice_is_written_published_and_echoed_and_an_sms_has_one_part() {
    let told = uses(&Fleet {
        notices: 1_000_000,
        sms: 500,
        ..two(1_000)
    });
    close(told[&("notices", "million write units")], 20.0);
    close(told[&("notices", "million SNS requests")], 1.0);
    close(told[&("notices", "million SQS requests")], 3.0);
    close(told[&("notices", "100,000 e-mails")], 10.0);
    close(told[&("notices", "parts of SMS")], 500.0);
    for (characters, parts) in [(1, 1), (160, 1), (161, 2), (306, 2), (307, 3)] {
        assert_eq!(model::parts(characters), parts, "{characters}");
    }
}

#[test]
fn what_is_free_is_a_part_of_the_bill_and_no_more_than_is_used() {
    let small = bill(&Fleet {
        canaries: false,
        name: false,
        ..of(0)
    });
    let free = model::free(&small);
    // 10 metrics, 10 alarms and the dashboard; 15,000 of 20,000 requests to KMS are not reached.
    assert!(
        (7.0..9.0).contains(&free) && free < dollars(&small),
        "{free}"
    );
    assert!(model::free(&bill(&two(1_000_000))) < 40.0);
}

#[test]
fn docs_costs_md_has_each_price_of_the_file() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let prices = file["prices"].as_object().unwrap();
    let (_, section) = PAGE.split_once("\n## Prices\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let table: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    for price in prices.values() {
        let text = |member: &str| price[member].as_str().unwrap();
        let dollars = price["dollars"].as_f64().unwrap();
        let dollars = if (dollars * 100.0).fract() < 1e-9 {
            format!("{dollars:.2}")
        } else {
            dollars.to_string()
        };
        let steps = price
            .get("then")
            .into_iter()
            .flat_map(|then| then.as_array().unwrap());
        let step = |step: &Value| format!(", {} from {}", step[1], step[0]);
        let steps = steps.map(step).collect::<Vec<_>>().concat();
        let free = price.get("free").map(Value::to_string).unwrap_or_default();
        let origin = match text("source") {
            "" => String::new(),
            url => format!(
                "[{}]({url})",
                url.split('/').nth(2).unwrap().trim_start_matches("www.")
            ),
        };
        let row = format!(
            "| {} | {dollars}{steps} | {} | {free} | {} | {origin} |",
            text("what"),
            text("unit"),
            text("date"),
        );
        assert!(table.contains(&row.as_str()), "docs/costs.md lacks\n{row}");
    }
    assert_eq!(table.len(), prices.len() + 2, "and a head of two lines");
}

#[test]
fn docs_costs_md_has_the_bill_of_a_million_hosts() {
    let items = rows(&bill(&two(1_000_000)));
    let cells: Vec<_> = items.iter().map(|row| row.cells(Timestamp::MIN)).collect();
    let table = output::table(CostRow::HEAD, &cells);
    assert!(
        PAGE.contains(&format!("```text\n{table}\n```\n")),
        "docs/costs.md lacks\n{table}"
    );
    assert!(table.lines().all(|line| line.len() <= 80));
}

#[test]
fn docs_costs_md_has_the_totals_of_fleets() {
    let rows: Vec<_> = PAGE
        .lines()
        .filter(|line| line.contains(" hosts, "))
        .collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let numbers: Vec<u64> = row
            .split(['|', ' '])
            .filter_map(|word| word.replace(',', "").parse().ok())
            .collect();
        let [hosts, minutes, one, both] = numbers[..] else {
            panic!("{row}")
        };
        for (fleet, told) in [(of(hosts), one), (two(hosts), both)] {
            let interval = Duration::from_mins(minutes);
            let total = dollars(&bill(&Fleet { interval, ..fleet })).round();
            assert_eq!(total.to_string(), told.to_string(), "{row}");
        }
    }
}

#[test]
fn docs_costs_md_tells_what_a_beat_costs_and_what_options_save() {
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    let million = bill(&of(1_000_000));
    let beats = million[0].amount;
    let transfer = DATA.prices.out.dollars * (DATA.bytes.answer + DATA.bytes.handshake) / 1e3;
    let all = dollars(&million) / beats;
    let told = format!("{all:.2} dollars a million, of which {transfer:.2} is");
    assert!(page.contains(&told), "{told}");
    let small = bill(&of(100));
    let told = format!(
        "would be {:.0} dollars of the smallest one",
        model::free(&small)
    );
    assert!(page.contains(&told), "{told}");
    for regions in [1, 2] {
        let full = Fleet { regions, ..of(100) };
        let bare = Fleet {
            canaries: false,
            name: false,
            ..full.clone()
        };
        let saved = (dollars(&bill(&full)) - dollars(&bill(&bare))) / f64::from(regions);
        assert!((5.0..6.0).contains(&saved), "{saved}");
    }
    assert!(page.contains("a region costs 5 to 6 dollars less"));
}
