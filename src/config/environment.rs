//! Variables of the environment as configuration: `TONGBAO_` and a key, with `__` between its levels.
//!
//! A value has the type of its key in `config/default.toml`, never the type that it looks like: digits stay a text
//! where the key is one, with every leading zero.

use std::ffi::OsString;

use config::{Value, ValueKind};

use super::ConfigError;

const PREFIX: &str = "tongbao_";
const LEVELS: &str = "__";
/// A person's own key, which is no configuration of the server's; commands read it themselves.
pub const OPERATOR_KEY: &str = "TONGBAO_OPERATOR_KEY";
/// What the environment says.
#[derive(Debug)]
pub struct Environment {
    /// Keys and their values.
    pub values: Vec<(String, Value)>,
    /// Names of variables that Kubernetes sets for a service called `tongbao…`; they are not meant for us.
    pub ignored: Vec<String>,
}

impl Environment {
    /// Reads the variables with our prefix; `defaults` knows every key.
    ///
    /// # Errors
    /// A variable that names no key, or whose value is not of its key's type. The value is never quoted.
    pub fn read(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        defaults: &config::Config,
    ) -> Result<Self, ConfigError> {
        let mut environment = Environment { values: Vec::new(), ignored: Vec::new() };
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| *name != OPERATOR_KEY) else { continue };
            let lower = name.to_lowercase();
            let Some(path) = lower.strip_prefix(PREFIX) else { continue };
            let Some(value) = value.to_str() else { return Err(refused(name, "is not UTF-8")) };
            match kind(path, defaults) {
                Some(kind) => environment.values.push((path.replace(LEVELS, "."), typed(name, value, &kind)?)),
                None if is_service(path, value) => environment.ignored.push(name.to_owned()),
                None => return Err(refused(name, "names no key; config/default.toml lists them all")),
            }
        }
        Ok(environment)
    }
}

fn refused(name: &str, why: &str) -> ConfigError {
    ConfigError(format!("the environment variable `{name}` {why}"))
}

/// The default of a key, or a text where the operator names the keys; none: there is no such key.
fn kind(path: &str, defaults: &config::Config) -> Option<ValueKind> {
    let is_word = |level: &str| {
        !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let levels: Vec<&str> = path.split(LEVELS).collect();
    if !levels.iter().all(|level| is_word(level)) {
        return None;
    }
    match levels.as_slice() {
        // The operator names accounts and platforms; what stands under them is text, read by whoever owns the table.
        ["channels", channel, "accounts", _, _, ..] if is_table(defaults, channel) => {
            return Some(ValueKind::String(String::new()));
        }
        ["platforms", _, _, ..] => return Some(ValueKind::String(String::new())),
        _ => {}
    }
    match defaults.get::<Value>(&levels.join(".")).ok()?.kind {
        ValueKind::Table(_) => None,
        leaf => Some(leaf),
    }
}

fn is_table(defaults: &config::Config, channel: &str) -> bool {
    defaults.get_table(&format!("channels.{channel}")).is_ok()
}

/// The text as a value of its key's type.
fn typed(name: &str, text: &str, kind: &ValueKind) -> Result<Value, ConfigError> {
    let origin = format!("the environment variable `{name}`");
    let kind = match kind {
        ValueKind::Boolean(_) => match text {
            "true" => ValueKind::Boolean(true),
            "false" => ValueKind::Boolean(false),
            _ => return Err(refused(name, "must be true or false")),
        },
        ValueKind::I64(_) => ValueKind::I64(whole(name, text)?),
        ValueKind::Array(defaults) => ValueKind::Array(list(name, text, defaults.first())?),
        // The defaults hold nothing else but texts.
        _ => ValueKind::String(text.to_owned()),
    };
    Ok(Value::new(Some(&origin), kind))
}

fn whole(name: &str, text: &str) -> Result<i64, ConfigError> {
    text.parse().map_err(|_| refused(name, "must be a whole number"))
}

/// Elements with commas between them, of the type of the default's first one; an empty default holds texts.
fn list(name: &str, text: &str, first: Option<&Value>) -> Result<Vec<Value>, ConfigError> {
    let text_kind = ValueKind::String(String::new());
    let kind = first.map_or(&text_kind, |value| &value.kind);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|element| typed(name, element.trim(), kind)).collect()
}

/// Whether Kubernetes sets such a variable for a service whose name is ours or begins with it, as
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables> describes them.
fn is_service(path: &str, value: &str) -> bool {
    const SCHEMES: [&str; 3] = ["tcp://", "udp://", "sctp://"];
    let is_link = || SCHEMES.iter().any(|scheme| value.starts_with(scheme));
    let ends = |ending: &str| path == ending || path.ends_with(&format!("_{ending}"));
    ends("service_host")
        || ends("service_port")
        || path.starts_with("service_port_")
        || path.contains("_service_port_")
        || (ends("port") && is_link())
        || is_container_link(path)
}

/// `…PORT_8080_TCP`, and the same with `_PROTO`, `_PORT` or `_ADDR` behind it.
fn is_container_link(path: &str) -> bool {
    let path = ["_proto", "_port", "_addr"].iter().find_map(|part| path.strip_suffix(part)).unwrap_or(path);
    let Some(path) = ["_tcp", "_udp", "_sctp"].iter().find_map(|part| path.strip_suffix(part)) else { return false };
    let Some((service, port)) = path.rsplit_once('_') else { return false };
    port.parse::<u16>().is_ok() && (service == "port" || service.ends_with("_port"))
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_TOML;
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, ConfigError> {
        let source = config::File::from_str(DEFAULT_TOML, config::FileFormat::Toml);
        let defaults = config::Config::builder().add_source(source).build().unwrap();
        Environment::read(variables.iter().map(|(name, value)| (name.into(), value.into())), &defaults)
    }

    fn value(name: &str, text: &str) -> ValueKind {
        read(&[(name, text)]).unwrap().values.remove(0).1.kind
    }

    #[test]
    fn report_digits_in_the_environment_stay_the_text_that_they_are() {
        for text in ["12345678901234567890123456789012", "0017", "1e5", "true", " x ", "0x1F"] {
            let said = ValueKind::String(text.to_owned());
            assert_eq!(value("TONGBAO_STORE__URL", text), said);
            assert_eq!(value("TONGBAO_CHANNELS__WECHAT__ACCOUNTS__DEFAULT__API_V3_KEY", text), said);
            assert_eq!(value("TONGBAO_DATA__DIR", text), said);
            assert_eq!(value("TONGBAO_PLATFORMS__SHOP__ACCOUNTS__WECHAT", text), said);
        }
    }

    #[test]
    fn a_persons_own_key_is_no_configuration() {
        assert!(read(&[(OPERATOR_KEY, "ok_1")]).unwrap().values.is_empty());
        assert!(read(&[("TONGBAO_OPERATOR__KEY", "ok_1")]).is_err());
    }

    #[test]
    fn a_value_has_the_type_of_its_key() {
        assert_eq!(value("TONGBAO_SANDBOX", "false"), ValueKind::Boolean(false));
        assert_eq!(value("TONGBAO_SERVER__WORKERS", "2"), ValueKind::I64(2));
        assert_eq!(value("TONGBAO_CHANNELS__SIMPAY__FEE_RATE", "0"), ValueKind::String("0".into()));
        let gaps = ValueKind::Array(vec![Value::new(None, 5), Value::new(None, 50)]);
        assert_eq!(value("TONGBAO_ORDERS__QUARANTINE_RETRY_MS", "5, 50").to_string(), gaps.to_string());
        assert_eq!(value("TONGBAO_RISK__REFUSED_IPS", ""), ValueKind::Array(Vec::new()));
        for (name, text) in [("TONGBAO_SANDBOX", "yes"), ("TONGBAO_SANDBOX", "0"), ("TONGBAO_SERVER__WORKERS", "2.5")] {
            let said = read(&[(name, text)]).unwrap_err().to_string();
            assert!(said.contains(name) && !said.contains(text), "{said}");
        }
    }

    /// As `kubectl exec … env` shows them for services `tongbao` and `tongbao-gateway`.
    #[test]
    fn report_a_kubernetes_service_of_our_name_does_not_stop_the_start() {
        let service = [
            ("TONGBAO_SERVICE_HOST", "10.0.171.239"),
            ("TONGBAO_SERVICE_PORT", "8080"),
            ("TONGBAO_SERVICE_PORT_HTTP", "8080"),
            ("TONGBAO_PORT", "tcp://10.0.171.239:8080"),
            ("TONGBAO_PORT_8080_TCP", "tcp://10.0.171.239:8080"),
            ("TONGBAO_PORT_8080_TCP_PROTO", "tcp"),
            ("TONGBAO_PORT_8080_TCP_PORT", "8080"),
            ("TONGBAO_PORT_8080_TCP_ADDR", "10.0.171.239"),
            ("TONGBAO_GATEWAY_SERVICE_HOST", "10.0.171.240"),
            ("TONGBAO_GATEWAY_SERVICE_PORT_METRICS", "9100"),
            ("TONGBAO_GATEWAY_PORT", "tcp://10.0.171.240:8090"),
            ("TONGBAO_GATEWAY_PORT_8090_TCP_ADDR", "10.0.171.240"),
        ];
        let read = read(&service).unwrap();
        assert_eq!(read.ignored, service.map(|(name, _)| name));
        assert!(read.values.is_empty());
    }

    #[test]
    fn a_variable_that_names_no_key_is_refused_by_its_name() {
        for name in [
            "TONGBAO_PORT",
            "TONGBAO_SERVER_LISTEN",
            "TONGBAO_SERVER__LISTN",
            "TONGBAO_SERVER",
            "TONGBAO_CHANNELS__PAYPAL__ACCOUNTS__DEFAULT__KEY",
            "TONGBAO_STORE__URL__X",
        ] {
            let said = read(&[(name, "127.0.0.1:80")]).unwrap_err().to_string();
            assert!(said.contains(&format!("`{name}`")), "{said}");
        }
    }
}
