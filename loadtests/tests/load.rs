//! The load tester against a stub server: what it counts must be what the stub saw.

mod stub;

use stub::{Faults, RefundsEnd, Signature, Stub};

#[test]
fn an_open_loop_posts_every_arrival_once() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("accept --rate 500 --for 2s --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.number("/requests/accepted"), 1_000);
    assert_eq!(run.number("/requests/acceptance/count"), 1_000);
    assert_eq!((stub.orders(), stub.accepted()), (1_000, 1_000));
}

#[test]
fn refusals_are_counted_apart_with_their_own_latency() {
    let stub = Stub::start(Faults { busy_every: Some(5), ..Faults::default() });
    let run = stub.load("accept --rate 500 --for 2s --no-baseline");
    assert_eq!(run.number("/requests/accepted"), 800, "{}", run.text());
    assert_eq!(run.number("/requests/acceptance/count"), 800);
    assert_eq!(run.number("/requests/refused/0/status"), 503);
    assert_eq!(run.number("/requests/refused/0/count"), 200);
    assert_eq!(run.number("/requests/refused/0/latency/count"), 200);
    assert_eq!(run.report["requests"]["refused"][0]["example"], "busy");
    assert_eq!(stub.accepted(), 800);
}

#[test]
fn a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one() {
    let faults = Faults { stall_at: Some(500), ..Faults::default() };
    // One connection: what is due meanwhile waits in the generator, where a careless clock would not see it.
    let open = Stub::start(faults).load("accept --rate 500 --for 2s --sockets 1 --no-baseline");
    assert_eq!(open.number("/requests/accepted"), 1_000, "{}", open.text());
    let open_p99 = open.number("/requests/acceptance/p99_us");
    assert!(open_p99 >= 400_000, "the stall is omitted: p99 {open_p99} µs");
    assert!(open.number("/requests/acceptance/max_us") >= 499_000);
    assert!(open.number("/requests/lag/p99_us") >= 400_000);

    let closed = Stub::start(faults).load("accept --connections 1 --for 2s --warm-up 1ms --no-baseline");
    assert!(closed.number("/requests/accepted") > 500, "{}", closed.text());
    assert!(closed.number("/requests/acceptance/p99_us") < open_p99 / 2);
}

#[test]
fn arrivals_beyond_the_bound_are_counted_not_dropped() {
    let stub = Stub::start(Faults { stall_at: Some(100), ..Faults::default() });
    let run = stub.load("accept --rate 500 --for 1s --in-flight-max 4 --no-baseline");
    let (accepted, skipped) = (run.number("/requests/accepted"), run.number("/requests/skipped"));
    assert_eq!(accepted + skipped, 500, "{}", run.text());
    assert!(skipped > 100, "{}", run.text());
    assert_eq!(stub.accepted(), accepted);
}

#[test]
fn a_closed_loop_counts_what_the_server_saw() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("accept --connections 8 --for 1s --warm-up 200ms");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.number("/requests/accepted"), stub.accepted());
    assert_eq!(run.report["rounds"][0]["of"], "baseline");
    assert!(run.number("/rounds/0/done") > 0 && run.number("/rounds/1/done") > 0);
    assert!(run.number("/requests/acceptance/count") < stub.accepted(), "the warm-up's latencies count");
}

#[test]
fn a_run_that_nothing_is_accepted_in_is_a_failure() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("accept --rate 100 --for 1s --no-baseline --key wrong");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!(run.number("/requests/refused/0/status"), 401);
    assert_eq!(run.number("/requests/refused/0/count"), 100);
}

#[test]
fn saturation_is_a_ratio_of_one_run() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("saturate --rounds 2 --round 300ms --connections 4");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let rounds = run.report["rounds"].as_array().unwrap();
    let names: Vec<_> = rounds.iter().map(|round| round["of"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseline", "accept", "baseline", "accept"]);
    assert!(run.report["ratio_of_medians"].as_f64().unwrap() > 0.0);
    assert!(rounds.iter().all(|round| round["server_us"].is_number()), "{}", run.text());
}

#[test]
fn held_orders_are_as_many_as_asked_for() {
    let stub = Stub::start(Faults { busy_every: Some(100), ..Faults::default() });
    let run = stub.load("hold --orders 2000 --rest 1ms");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.number("/memory/orders"), stub.accepted());
    assert!((2_000..2_064).contains(&stub.accepted()));
}

#[test]
fn payments_end_with_their_webhooks_and_the_books_agree() {
    let stub = Stub::start(Faults::default());
    let run =
        stub.load("checkout --connections 10 --for 1s --mix plain=8,sim:decline=2 --check-one-in 7 --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let (plain, declined) = (run.number("/payments/kinds/0/ended"), run.number("/payments/kinds/1/ended"));
    assert_eq!(plain + declined, stub.accepted());
    assert!(plain > declined && declined > 0);
    assert_eq!(run.number("/payments/succeeded"), plain);
    assert_eq!(run.number("/books/gateway/captures"), plain);
    assert_eq!(run.number("/payments/paid_minor"), plain * 20_060);
    assert_eq!(run.number("/payments/signatures_checked"), stub.accepted().div_ceil(7));
}

#[test]
fn refunds_of_paid_orders_end_and_the_books_agree() {
    let stub = Stub::start(Faults::default());
    let run = stub.load(
        "checkout --connections 8 --for 1s --mix plain=2,plain+refund=1,alipay/plain+parts=1 --check-one-in 1 --no-baseline",
    );
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let kinds = ["/payments/kinds/1/ended", "/payments/kinds/2/ended"].map(|kind| run.number(kind));
    let refunds = kinds[0] + 2 * kinds[1];
    assert!(kinds.iter().all(|count| *count > 0));
    assert_eq!((run.number("/refunds/asked"), run.number("/refunds/requests/accepted")), (refunds, refunds));
    assert_eq!(
        (run.number("/refunds/succeeded"), run.number("/payments/webhooks/refund.succeeded")),
        (refunds, refunds)
    );
    assert_eq!(run.number("/refunds/refunded_minor"), (kinds[0] + kinds[1]) * 20_060);
    assert_eq!(run.number("/books/gateway/refunded_minor"), (kinds[0] + kinds[1]) * 20_060);
    assert!(run.text().contains("refund done"), "{}", run.text());
}

#[test]
fn refunds_may_have_a_round_of_their_own() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("checkout --rate 100 --for 1s --mix plain+refund=1 --refunds-after --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let rounds = run.report["rounds"].as_array().unwrap();
    let names: Vec<_> = rounds.iter().map(|round| round["of"].as_str().unwrap()).collect();
    assert_eq!(names, ["payments", "refunds"]);
    assert_eq!((run.number("/rounds/1/done"), run.number("/refunds/succeeded")), (100, 100));
}

#[test]
fn refunds_without_an_end_or_refused_are_a_failure() {
    let load = |refunds| {
        let stub = Stub::start(Faults { refunds, ..Faults::default() });
        stub.load("checkout --rate 50 --for 1s --mix plain=4,plain+refund=1 --settle 1s --no-baseline")
    };
    let untold = load(RefundsEnd::Untold);
    assert_eq!((untold.code(), untold.number("/refunds/unfinished")), (Some(1), 10), "{}", untold.text());
    assert!(untold.report["books"]["differences"].as_array().unwrap().is_empty(), "ten refunds are uncertain");
    let refused = load(RefundsEnd::Refused);
    assert_eq!(
        (refused.code(), refused.number("/refunds/requests/refused/0/count")),
        (Some(1), 10),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("refund_window_over"), "{}", refused.text());
}

#[test]
fn shares_and_sales_go_to_platforms_by_turns() {
    let stub = Stub::start(Faults::default());
    let file = std::env::temp_dir().join(format!("tongbao-load-platforms-{}", std::process::id()));
    // Webhooks of the second one are signed with another secret than the stub has.
    let lines = "sk_sandbox_a whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=\nsk_sandbox_b whsec_YQ==\n";
    std::fs::write(&file, lines).unwrap();
    let run = stub.load(&format!(
        "checkout --rate 100 --for 1s --mix plain+split2=1 --split-to p-1,p-2,p-3,p-4 --platforms {} --check-one-in 1 \
         --settle 1s --no-baseline",
        file.display()
    ));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(run.number("/requests/accepted"), 100, "{}", run.text());
    let shares = ["p-1", "p-2", "p-3", "p-4"].map(|name| stub.shares(name));
    assert!(shares.iter().sum::<u64>() == 200 && shares.iter().all(|count| (30..70).contains(count)), "{shares:?}");
    assert!((30..70).contains(&run.number("/payments/signatures_wrong")), "{}", run.text());
    assert_eq!(run.report["goals"].as_array().unwrap().len(), 0);
}

#[test]
fn forms_are_carried_by_a_browser_to_the_gateway() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("checkout --channel alipay --method wap --connections 4 --for 1s --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.number("/payments/succeeded"), stub.accepted());
    assert_eq!(run.number("/browser/answers/200"), stub.accepted());
    assert_eq!(run.number("/books/gateway/captures"), stub.accepted());
    assert_eq!(run.report["way"], serde_json::json!({"channel": "alipay", "method": "wap"}));
}

#[test]
fn an_order_without_the_form_that_it_needs_is_a_failure() {
    let stub = Stub::start(Faults { hide_forms: true, ..Faults::default() });
    let run = stub.load("checkout --channel unionpay --rate 20 --for 1s --settle 1s --no-baseline");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!((run.number("/browser/unshown"), run.number("/payments/kinds/0/unfinished")), (20, 20));
}

#[test]
fn all_channels_are_paid_by_in_turn() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("checkout --channel all --connections 4 --for 300ms --warm-up 1ms --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let reports = run.report.as_array().unwrap();
    let channels: Vec<_> = reports.iter().map(|report| report["way"]["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["simpay", "wechat", "alipay", "unionpay", "stripe"]);
    let accepted: u64 = (0..5).map(|place| run.number(&format!("/{place}/requests/accepted"))).sum();
    assert_eq!(accepted, stub.accepted());
    assert!(run.text().contains("by channel"), "{}", run.text());
}

#[test]
fn what_could_not_be_paid_is_refused_before_the_load() {
    let stub = Stub::start(Faults::default());
    for arguments in [
        "--channel wechat --currency USD",
        "--channel stripe --method qr",
        "--channel all --method qr",
        "--channel all --mix wechat/plain=1",
        "--channel alipay --async",
        "--channel unionpay --mix sim:decline=1",
        "--channel all --mix plain=1,sim:refuse=1",
        "--async --mix plain=1,unionpay/plain=1",
        "--mix plain+split2=1",
        "--mix plain+parts=1 --amount 0.01",
        "--platforms /nowhere",
    ] {
        let run = stub.load(&format!("checkout --for 1s --no-baseline {arguments}"));
        assert_eq!(run.code(), Some(2), "{arguments}: {}", run.text());
    }
    assert_eq!(stub.orders(), 0);
}

#[test]
fn payments_of_the_open_loop_all_end() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("checkout --rate 200 --for 1s --async --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.number("/payments/kinds/0/ended"), 200);
    assert_eq!(run.number("/payments/kinds/0/latency/count"), 200);
}

#[test]
fn a_payment_without_an_end_is_a_failure() {
    let stub = Stub::start(Faults { lose_webhook_of: Some(20), ..Faults::default() });
    let run = stub.load("checkout --rate 100 --for 1s --settle 2s --no-baseline");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!(run.number("/payments/kinds/0/unfinished"), 1);
    assert!(run.report["books"]["differences"].as_array().unwrap().is_empty(), "one payment is uncertain");
}

#[test]
fn money_that_only_the_gateway_knows_of_is_a_failure() {
    let stub = Stub::start(Faults { stray_captures: 1, ..Faults::default() });
    let run = stub.load("checkout --rate 100 --for 1s --settle 2s --no-baseline");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!(run.report["books"]["differences"].as_array().unwrap().len(), 2, "{}", run.text());
}

#[test]
fn a_wrong_signature_is_a_failure() {
    let stub = Stub::start(Faults { signature: Signature::Wrong, ..Faults::default() });
    let run = stub.load("checkout --rate 100 --for 1s --settle 1s --check-one-in 50 --no-baseline");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!(run.number("/payments/signatures_wrong"), 2);
}

#[test]
fn a_failed_audit_or_a_missed_target_decides_the_exit_code() {
    let stub = Stub::start(Faults::default());
    let audit = stub.load("accept --rate 50 --for 1s --no-baseline --audit false");
    assert_eq!((audit.code(), audit.number("/audit/exit_code")), (Some(1), 1), "{}", audit.text());
    assert_eq!(stub.load("accept --rate 50 --for 1s --no-baseline --audit true").code(), Some(0));
    let slow = Stub::start(Faults { stall_at: Some(10), ..Faults::default() });
    assert_eq!(slow.load("accept --rate 50 --for 1s --no-baseline --enforce").code(), Some(1));
}

#[test]
fn accepted_orders_that_are_not_there_are_a_failure() {
    let stub = Stub::start(Faults { forget_every: Some(50), ..Faults::default() });
    let run = stub.load("accept --rate 100 --for 2s --no-baseline");
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!(run.number("/lookup/looked_up"), 200);
    assert_eq!(run.report["lookup"]["lost"].as_array().unwrap().len(), 4);
}

#[test]
fn overload_offers_half_and_three_times_of_saturation() {
    let stub = Stub::start(Faults::default());
    let run = stub.load("overload --for 300ms --connections 2 --sockets 16 --no-baseline");
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let rounds = run.report["rounds"].as_array().unwrap();
    let names: Vec<_> = rounds.iter().map(|round| round["of"].as_str().unwrap()).collect();
    assert_eq!(names, ["saturation", "half", "triple"]);
    let rates: Vec<_> = rounds.iter().map(|round| round["per_second"].as_f64().unwrap()).collect();
    assert!(rates[1] < rates[0] * 0.75, "{rates:?}");
    assert!(run.number("/requests/skipped") > 0, "three times saturation cannot all be taken: {}", run.text());
    assert_eq!(run.report["goals"].as_array().unwrap().len(), 4);
    let notes = run.report["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().starts_with("triple:")), "{}", run.text());
}

#[test]
fn other_machines_are_no_targets() {
    let stub = Stub::start(Faults::default());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tongbao-load"))
        .args(["accept", "--rate", "1", "--target", "http://192.0.2.1:80"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"));
    assert_eq!(stub.orders(), 0);
}
