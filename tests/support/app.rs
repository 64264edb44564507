//! A server under test with everything around it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::books::{self, Left};
use super::client::{Client, KEY_A, KEY_B};
use super::gateway::Gateway;
use super::process::{Kind, Process, Site};
use super::receiver::Receiver;
use super::{eventually, seconds};

/// Machines that test are often busy.
const START_LIMIT: Duration = seconds(60);

pub struct App {
    pub site: Site,
    pub server: Process,
    pub receiver: Receiver,
    pub gateway: Gateway,
    /// The gateway's process, where it is not the server's child.
    standalone: Option<Process>,
}

/// A server on a fresh embedded store, with the defaults of the sandbox.
pub async fn start() -> App {
    start_with(Kind::Sqlite, "").await
}

pub async fn start_with(kind: Kind, settings: &str) -> App {
    App::start(Site::new(kind, settings)).await
}

impl App {
    pub async fn start(site: Site) -> Self {
        let server = site.start(&["serve"]);
        App::around(site, server, None).await
    }

    /// With no more than this many descriptors.
    pub async fn start_with_descriptors(site: Site, descriptors: u32) -> Self {
        let server = site.start_with_descriptors(descriptors, &["serve"]);
        App::around(site, server, None).await
    }

    /// With a gateway that outlives the server. The site's settings must say `gateway.embedded = false`.
    pub async fn start_beside_gateway(site: Site) -> Self {
        let gateway = site.start(&["gateway"]);
        let server = site.start(&["serve"]);
        App::around(site, server, Some(gateway)).await
    }

    async fn around(site: Site, server: Process, standalone: Option<Process>) -> Self {
        let gateway = Gateway::new(&site);
        let mut app = App { site, server, receiver: Receiver::start(), gateway, standalone };
        app.ready().await;
        app
    }

    /// As platform-a.
    pub fn client(&self) -> Client {
        Client::new(self.site.url(), KEY_A)
    }

    pub fn client_b(&self) -> Client {
        Client::new(self.site.url(), KEY_B)
    }

    /// Approves all that is proposed, as the other demo operator; the proposals as they are then.
    pub async fn approve_all(&self) -> Vec<Value> {
        let finance = self.client().with_key("ok_sandbox_2");
        let open = finance.get("/v1/operator/proposals?state=open").await;
        let mut approved = Vec::new();
        for proposal in open.body["data"].as_array().expect("a list") {
            let path = format!("/v1/operator/proposals/{}/approve", proposal["id"].as_str().expect("an id"));
            let answer = finance.post(&path, &Value::Null).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            approved.push(answer.body);
        }
        approved
    }

    /// Waits until the server is ready; how long that took.
    pub async fn ready(&mut self) -> Duration {
        let begun = Instant::now();
        let client = self.client().anonymous();
        loop {
            if let Some(status) = self.server.ended() {
                panic!("the server ended with {status}:\n{}", self.server.log_tail());
            }
            let probe = client.try_send(client.request(reqwest::Method::GET, "/readyz")).await;
            if probe.is_ok_and(|answer| answer.status == 200) && self.gateway.is_up().await {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < START_LIMIT, "the server is not ready:\n{}", self.server.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL to the server.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Starts the server anew on the same site.
    pub fn restart(&mut self) {
        self.server = self.site.start(&["serve"]);
    }

    /// Stops the gateway that is no child of the server.
    pub async fn stop_gateway(&mut self) {
        self.standalone.as_mut().expect("the gateway has a process of its own").stop().await;
    }

    /// Starts it again.
    pub async fn restart_gateway(&mut self) {
        self.standalone = Some(self.site.start(&["gateway"]));
        eventually("the gateway is up", START_LIMIT, || async { self.gateway.is_up().await.then_some(()) }).await;
    }

    /// The value of a metric: the sum over all series of this name that hold `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let answer = self.client().get("/metrics").await;
        assert_eq!(answer.status, 200);
        let of_name = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        answer
            .text
            .lines()
            .filter(of_name)
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The binary's own audit finds nothing either.
    async fn audit(&self) {
        let audit = self.site.run(&["audit", "--json", "--orders", "all", "--wait", "10"]).await;
        let said = String::from_utf8_lossy(&audit.stdout).into_owned() + &String::from_utf8_lossy(&audit.stderr);
        assert!(audit.status.success(), "tongbao audit: {said}");
    }

    /// Ends a journey: all is quiet, the books are right, the server stops as it should.
    pub async fn finish(self) {
        self.finish_with(Left::default()).await;
    }

    /// The same, where a journey explains what is left over.
    pub async fn finish_with(mut self, left: Left) {
        books::settle(&self.site, &self.gateway, left).await;
        self.audit().await;
        assert_eq!(self.receiver.faults(), Vec::<String>::new(), "webhooks that were not right");
        self.server.stop().await;
        books::released(&self.site).await;
        if let Some(gateway) = &mut self.standalone {
            gateway.stop().await;
        } else {
            let gone = || async { (!self.gateway.is_up().await).then_some(()) };
            eventually("the embedded gateway ends with its server", seconds(5), gone).await;
        }
    }
}
