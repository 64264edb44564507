//! What is asked and how long it takes, by route: never by raw path, of which there are as many as somebody likes.

use std::cell::OnceCell;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use metrics::{Counter, Histogram};

/// What has no route.
pub const UNMATCHED: &str = "unmatched";
const METHODS: [&str; 3] = ["GET", "POST", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One route's handles in one worker, each made when it is first needed and then kept: a request allocates nothing.
pub struct Meter {
    route: &'static str,
    seconds: OnceCell<Histogram>,
    answers: [[OnceCell<Counter>; CLASSES.len()]; METHODS.len()],
}

impl Meter {
    pub const fn new(route: &'static str) -> Self {
        let answers = [const { [const { OnceCell::new() }; CLASSES.len()] }; METHODS.len()];
        Meter { route, seconds: OnceCell::new(), answers }
    }

    pub fn record(&self, method: &Method, status: StatusCode, took: Duration) {
        let other = METHODS.len() - 1;
        let method = METHODS[..other].iter().position(|name| *name == method.as_str()).unwrap_or(other);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let counter = self.answers[method][class].get_or_init(|| {
            metrics::counter!("tongbao_http_requests_total", "route" => self.route, "method" => METHODS[method],
                "status_class" => CLASSES[class])
        });
        counter.increment(1);
        let seconds = self.seconds.get_or_init(|| metrics::histogram!("tongbao_http_seconds", "route" => self.route));
        seconds.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn requests_are_counted_by_route_method_and_class() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let meter = Meter::new("/v1/orders/{id}");
            for (method, status) in [(Method::GET, 200), (Method::GET, 204), (Method::GET, 404), (Method::PUT, 405)] {
                meter.record(&method, StatusCode::from_u16(status).unwrap(), Duration::from_millis(2));
            }
        });
        let told = recorder.handle().render();
        let count = |method: &str, class: &str| {
            let labels = format!(r#"route="/v1/orders/{{id}}",method="{method}",status_class="{class}""#);
            let line = told.lines().find(|line| line.contains(&labels)).unwrap_or_else(|| panic!("{labels}: {told}"));
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!([count("GET", "2xx"), count("GET", "4xx"), count("other", "4xx")], ["2", "1", "1"]);
        assert!(told.contains(r#"tongbao_http_seconds_count{route="/v1/orders/{id}"} 4"#), "{told}");
    }
}
