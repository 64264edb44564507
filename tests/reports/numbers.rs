//! Numbers that never repeat, after a restore either.

use std::path::PathBuf;

use serde_json::{Value, json};
use tongbao::domain::id::{AttemptNumber, OrderId};
use tongbao::domain::order::Order;

use crate::support::app::App;
use crate::support::books;
use crate::support::client::{Client, an_order, text};
use crate::support::gateway::Callback;
use crate::support::process::{Kind, Site};
use crate::support::{Folder, eventually, seconds};

/// A send is lost with the server, and sent again before its payer pays.
const LOST_SEND: &str = "[server]\nfirst_answer_wait_ms = 200\n[gateway]\nembedded = false\npayer_delay_ms = 6000\n";
/// The gateway and its books outlive the server.
const BESIDE: &str = "[gateway]\nembedded = false\npayer_delay_ms = 300\n";
/// Long enough to end the server between the answer to a create and the payment.
const SLOW_PAYER: &str = "[gateway]\nembedded = false\npayer_delay_ms = 2000\n";
const PAYABLE_MINOR: i64 = 20_060;

/// The files of an embedded store whose server is stopped.
struct Backup(Folder);

impl Backup {
    fn files(site: &Site) -> [PathBuf; 3] {
        let file = site.store_file();
        let beside = |suffix: &str| {
            let mut path = file.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        [file.to_owned(), beside("-wal"), beside("-shm")]
    }

    fn of(site: &Site) -> Self {
        let folder = Folder::new();
        for file in Backup::files(site).iter().filter(|file| file.exists()) {
            std::fs::copy(file, folder.path().join(file.file_name().expect("a file has a name")))
                .expect("it is copied");
        }
        Backup(folder)
    }

    fn restore(&self, site: &Site) {
        for file in Backup::files(site) {
            let _ = std::fs::remove_file(&file);
            let copy = self.0.path().join(file.file_name().expect("a file has a name"));
            if copy.exists() {
                std::fs::copy(copy, file).expect("it is restored");
            }
        }
    }
}

/// An order that waits for somebody to choose a channel.
async fn waiting(client: &Client, description: &str) -> String {
    let mut order = an_order(description);
    order.as_object_mut().expect("an order").remove("channel");
    text(&client.create(&order).await.order(201), "id").to_owned()
}

async fn pays(client: &Client, id: &str) -> String {
    let answer = client.pay(id, "simpay").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    number_of(&answer.body)
}

/// The number of the order's only attempt.
fn number_of(order: &Value) -> String {
    assert_eq!(order["attempts"].as_array().map(Vec::len), Some(1), "{order}");
    let number = text(&order["attempts"][0], "id").to_owned();
    assert!(number.len() == 28 && number.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{number}");
    number
}

async fn restarts(app: &mut App) {
    app.restart();
    app.ready().await;
}

async fn stored(app: &App, id: &str) -> Order {
    let id = id.parse().expect("an order's id");
    books::open(&app.site).order(id).await.expect("the store answers").expect("it is there").order
}

/// The number of an order's first refund at its channel.
fn refund_number(order: &Order) -> String {
    let refund = order.refunds.first().expect("it has a refund");
    order.refund_number(refund, refund.round).expect("it has a number").to_string()
}

#[actix_web::test]
async fn report_numbers_repeat_after_a_restore_old_money_is_not_booked_as_a_new_attempts() {
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, BESIDE)).await;
    let client = app.client();
    let paid = waiting(&client, "tea").await;
    let shown = waiting(&client, "sim:never").await;
    app.server.stop().await;
    let backup = Backup::of(&app.site);

    restarts(&mut app).await;
    let lost = pays(&client, &paid).await;
    let lost_order = client.reaches(&paid, "succeeded", seconds(10)).await;
    let lost_shown = pays(&client, &shown).await;
    app.server.stop().await;

    backup.restore(&app.site);
    restarts(&mut app).await;
    // Money of an attempt that nobody remembers comes before its ordinal is taken again.
    let late = Callback::of(&app.site, &lost_shown, PAYABLE_MINOR);
    assert_eq!(late.send(&client).await.status, 200);
    assert_eq!(client.order(&shown).await["state"], "created");

    // The ordinal is the same, the number is another one, which the gateway did not know: it is paid anew.
    let number = pays(&client, &paid).await;
    let order = client.reaches(&paid, "succeeded", seconds(10)).await;
    let (old, new): (AttemptNumber, AttemptNumber) = (lost.parse().unwrap(), number.parse().unwrap());
    assert_eq!((old.order, old.ordinal), (new.order, new.ordinal));
    assert_ne!(old.incarnation, new.incarnation);
    let reference = |order: &Value| order["attempts"][0]["channel_reference"].clone();
    assert_ne!(reference(&order), reference(&lost_order), "the old money stands for itself");
    for number in [&lost, &number] {
        let seen = app.gateway.attempt(number).await.expect("the gateway knows it");
        assert_eq!(seen["captured_minor"], PAYABLE_MINOR, "{number}");
    }

    // And again while the new attempt waits for its payer, from before a restart too.
    let number = pays(&client, &shown).await;
    assert_ne!(number, lost_shown);
    let late = Callback::of(&app.site, &lost_shown, PAYABLE_MINOR);
    assert_eq!(late.send(&client).await.status, 200);
    app.kill().await;
    restarts(&mut app).await;
    assert_eq!(late.send(&client).await.status, 200, "it is acknowledged, and its money is nobody's");
    let order = client.order(&shown).await;
    assert_eq!((text(&order, "state"), number_of(&order)), ("submitted", number.clone()));
    let store = books::open(&app.site);
    assert_eq!(store.inbox_size().await.unwrap(), 2, "each callback is kept for a person, once");
    assert_eq!(app.metric("tongbao_inbox_total", "").await, 1.0, "and told of, since the restart");
    assert_eq!(stored(&app, &shown).await.captures, []);

    // The attempt's own money is taken.
    assert_eq!(Callback::of(&app.site, &number, PAYABLE_MINOR).send(&client).await.status, 200);
    client.reaches(&shown, "succeeded", seconds(5)).await;
    app.server.stop().await;
    app.stop_gateway().await;
}

#[actix_web::test]
async fn report_numbers_repeat_after_a_restore_a_refund_has_another_number_and_no_money_goes_back_twice() {
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, SLOW_PAYER)).await;
    let client = app.client();
    let order = client.create(&an_order("sim:underpay")).await.order(201);
    let id = text(&order, "id").to_owned();
    let number = number_of(&order);
    app.kill().await;
    let gateway = app.gateway.clone();
    let money = async |field: &str| {
        let seen = gateway.attempt(&number).await.expect("the gateway knows it");
        seen[field].as_i64().expect("minor units")
    };
    eventually("the gateway takes the money", seconds(10), || async {
        (money("captured_minor").await == PAYABLE_MINOR - 1).then_some(())
    })
    .await;
    let backup = Backup::of(&app.site);

    let refunded = |order: &Value| order["suspense"][0]["state"] == "refunded";
    app.restart();
    app.ready().await;
    client.until(&id, "its money goes back", seconds(10), refunded).await;
    assert_eq!(money("refunded_minor").await, PAYABLE_MINOR - 1);
    app.server.stop().await;
    let first = refund_number(&stored(&app, &id).await);

    // The copy knows the attempt and asks for it, but not that its money has gone back.
    backup.restore(&app.site);
    app.restart();
    app.ready().await;
    let order = client.until(&id, "has money in suspense", seconds(10), |order| order["suspense"] != json!([])).await;
    assert_eq!(number_of(&order), number, "what was opened before the copy keeps its number");
    let second = refund_number(&stored(&app, &id).await);
    assert_ne!(second, first);
    assert!([&first, &second].iter().all(|refund| refund.starts_with(&number) && refund.len() <= 40));
    // The channel gives back no more than it took, and our books do not say that this refund did.
    eventually("the refund is refused", seconds(10), || async {
        let journal =
            books::open(&app.site).journal(id.parse::<OrderId>().unwrap().into()).await.expect("the journal is read");
        journal.iter().any(|row| String::from_utf8_lossy(&row.body).contains("refund_exceeds")).then_some(())
    })
    .await;
    assert_eq!(money("refunded_minor").await, PAYABLE_MINOR - 1);
    assert_eq!(client.order(&id).await["suspense"][0]["state"], "owed");
    app.server.stop().await;
    app.stop_gateway().await;
}

#[actix_web::test]
async fn report_a_restart_between_a_send_and_its_resend_keeps_the_number() {
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, LOST_SEND)).await;
    let client = app.client();
    // One is sent and never answered, the other was answered and is asked for again.
    let hanging = client.create(&an_order("sim:hang")).await.order(201);
    let shown = client.create(&an_order("sim:never")).await.order(201);
    assert_eq!((&hanging["state"], &hanging["next_action"]), (&json!("submitted"), &Value::Null), "{hanging}");
    app.kill().await;
    restarts(&mut app).await;

    let id = text(&hanging, "id");
    let order = client.reaches(id, "succeeded", seconds(15)).await;
    assert_eq!(number_of(&order), number_of(&hanging));
    let sends = stored(&app, id).await.attempts[0].sends;
    assert!(sends > 1, "it was sent again: {sends}");
    let id = text(&shown, "id");
    let again = client.pay(id, "simpay").await.order(200);
    assert_eq!(number_of(&again), number_of(&shown));
    let order = stored(&app, id).await;
    assert_eq!((order.attempts[0].sends, order.attempts[0].answered), (2, 2), "it was sent again and answered");
    assert_ne!(again["next_action"], shown["next_action"], "the gateway knew it and showed it anew");
    assert!([200, 202].contains(&client.cancel(id).await.status));
    client.reaches(id, "failed", seconds(10)).await;
    app.finish().await;
}
