//! Parameters, as Stripe writes them: `metadata[order]=T1&expand[]=data.source`.

use std::collections::BTreeMap;
use std::fmt::Write;

use url::form_urlencoded;

use super::failure::Failure;
use crate::domain::money::Currency;

const PARAMS_MAX: usize = 200;
const METADATA_MAX: usize = 50;
const METADATA_KEY_MAX: usize = 40;
const METADATA_VALUE_MAX: usize = 500;
/// Eight digits.
const AMOUNT_MAX: i64 = 99_999_999;
/// Whose whole units Stripe counts in, and those whose hundredths; others are not simulated.
const CURRENCIES: [&str; 12] = ["aud", "cad", "chf", "cny", "eur", "gbp", "hkd", "jpy", "krw", "nzd", "sgd", "usd"];

/// Parameters that nobody has asked for yet: what is left at the end is unknown to the call.
#[derive(Debug)]
pub struct Params(BTreeMap<String, String>);

/// A span of seconds, as milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub until: i64,
}

impl Params {
    /// # Errors
    /// A parameter comes twice, or there are too many.
    pub fn read(form: &[u8]) -> Result<Self, Failure> {
        let mut params = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(form) {
            let name = match name.strip_suffix("[]") {
                Some(list) => format!("{list}[{}]", params.len()),
                None => name.into_owned(),
            };
            if params.len() == PARAMS_MAX {
                return Err(Failure::invalid("Too many parameters."));
            }
            if params.insert(name.clone(), value.into_owned()).is_some() {
                let message = format!("Received the parameter {name} more than once.");
                return Err(Failure::parameter("parameter_invalid", &name, message));
            }
        }
        Ok(Params(params))
    }

    /// The same text for the same parameters.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            writeln!(text, "{}:{name}={}:{value}", name.len(), value.len()).expect("a string takes everything");
        }
        text
    }

    /// An empty value is as good as none.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    pub fn required(&mut self, name: &str) -> Result<String, Failure> {
        let missing = || Failure::parameter("parameter_missing", name, format!("Missing required param: {name}."));
        self.text(name).ok_or_else(missing)
    }

    pub fn switch(&mut self, name: &str) -> Result<Option<Switch>, Failure> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(Switch::On)),
            Some("false") => Ok(Some(Switch::Off)),
            Some(other) => Err(Failure::parameter("parameter_invalid", name, format!("Invalid boolean: {other}"))),
        }
    }

    pub fn one_of(&mut self, name: &str, known: &[&str]) -> Result<Option<String>, Failure> {
        match self.text(name) {
            Some(text) if !known.contains(&text.as_str()) => {
                Err(Failure::parameter("parameter_invalid", name, format!("Invalid {name}")))
            }
            text => Ok(text),
        }
    }

    /// An amount in the currency's minor unit.
    pub fn amount(&mut self, name: &str) -> Result<Option<i64>, Failure> {
        self.text(name).map(|text| amount(name, &text)).transpose()
    }

    pub fn required_amount(&mut self, name: &str) -> Result<i64, Failure> {
        let text = self.required(name)?;
        amount(name, &text)
    }

    pub fn currency(&mut self) -> Result<(String, Currency), Failure> {
        let code = self.required("currency")?;
        let known = CURRENCIES.contains(&code.as_str()).then(|| Currency::parse(&code.to_ascii_uppercase())).flatten();
        let invalid = || Failure::parameter("parameter_invalid", "currency", format!("Invalid currency: {code}"));
        let currency = known.ok_or_else(invalid)?;
        Ok((code, currency))
    }

    pub fn metadata(&mut self) -> Result<BTreeMap<String, String>, Failure> {
        let metadata: BTreeMap<String, String> = self.nested("metadata").into_iter().collect();
        let fits = |(name, value): (&String, &String)| {
            name.chars().count() <= METADATA_KEY_MAX && value.chars().count() <= METADATA_VALUE_MAX
        };
        if metadata.len() > METADATA_MAX || !metadata.iter().all(fits) {
            return Err(Failure::parameter("parameter_invalid", "metadata", "Metadata is too large."));
        }
        Ok(metadata)
    }

    pub fn list(&mut self, name: &str) -> Vec<String> {
        self.nested(name).into_iter().map(|(_, value)| value).collect()
    }

    /// The properties that are to be shown whole instead of by their ids.
    ///
    /// # Errors
    /// One of them is not among those that can be.
    pub fn expand(&mut self, known: &[&str]) -> Result<Vec<String>, Failure> {
        let paths = self.list("expand");
        match paths.iter().find(|path| !known.contains(&path.as_str())) {
            Some(path) => Err(Failure::invalid(format!("This property cannot be expanded ({path})."))),
            None => Ok(paths),
        }
    }

    /// `created=`, or `created[gte]=` and its like.
    pub fn span(&mut self, name: &str) -> Result<Span, Failure> {
        let mut span = Span { from: 0, until: i64::MAX };
        if let Some(text) = self.text(name) {
            let second = milliseconds(name, &text, 0)?;
            return Ok(Span { from: second, until: second + 1_000 });
        }
        for (bound, text) in self.nested(name) {
            match bound.as_str() {
                "gte" => span.from = span.from.max(milliseconds(name, &text, 0)?),
                "gt" => span.from = span.from.max(milliseconds(name, &text, 1)?),
                "lt" => span.until = span.until.min(milliseconds(name, &text, 0)?),
                "lte" => span.until = span.until.min(milliseconds(name, &text, 1)?),
                _ => return Err(unknown(&format!("{name}[{bound}]"))),
            }
        }
        Ok(span)
    }

    /// # Errors
    /// A parameter that the call does not know.
    pub fn finish(self) -> Result<(), Failure> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(unknown(&name)),
        }
    }

    /// What stands as `name[…]`, by what is in the brackets.
    fn nested(&mut self, name: &str) -> Vec<(String, String)> {
        let inner = |known: &str| Some(known.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        let names: Vec<(String, String)> =
            self.0.keys().filter_map(|known| Some((known.clone(), inner(known)?))).collect();
        names.into_iter().filter_map(|(known, inner)| Some((inner, self.0.remove(&known)?))).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

fn unknown(name: &str) -> Failure {
    Failure::parameter("parameter_unknown", name, format!("Received unknown parameter: {name}"))
}

fn amount(name: &str, text: &str) -> Result<i64, Failure> {
    let invalid = || Failure::parameter("parameter_invalid_integer", name, format!("Invalid integer: {text}"));
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let amount: i64 = text.parse().ok().filter(|_| digits).ok_or_else(invalid)?;
    match amount {
        0 => {
            Err(Failure::parameter("parameter_invalid_integer", name, "This value must be greater than or equal to 1."))
        }
        1..=AMOUNT_MAX => Ok(amount),
        _ => Err(Failure::parameter("amount_too_large", name, "Amount must be no more than 99999999.")),
    }
}

fn milliseconds(name: &str, text: &str, later_s: i64) -> Result<i64, Failure> {
    let invalid = || Failure::parameter("parameter_invalid_integer", name, format!("Invalid timestamp: {text}"));
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = text.parse().ok().filter(|_| digits).ok_or_else(invalid)?;
    seconds.checked_add(later_s).and_then(|seconds| seconds.checked_mul(1_000)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(form: &str) -> Params {
        Params::read(form.as_bytes()).expect("parameters")
    }

    #[test]
    fn brackets_make_maps_and_lists() {
        let mut params = params("metadata[a]=1&metadata[b+c]=%26&expand[]=x&expand[]=y&expand[7]=z&amount=20");
        let metadata = params.metadata().expect("metadata");
        assert_eq!(
            metadata.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1".to_owned()), ("b c".to_owned(), "&".to_owned())]
        );
        assert_eq!(params.list("expand").len(), 3);
        assert_eq!(params.amount("amount").expect("an amount"), Some(20));
        assert!(params.finish().is_ok());
    }

    #[test]
    fn trap_09_what_is_unknown_double_or_malformed_is_refused() {
        assert!(params("amuont=1").finish().is_err());
        assert!(Params::read(b"a=1&a=1").is_err());
        assert!(Params::read("a[]=1&".repeat(PARAMS_MAX + 1).as_bytes()).is_err());
        for text in ["0", "-1", "+1", "1.0", "1e3", "100000000", "99999999999999999999", "x"] {
            assert!(params(&format!("amount={}", text.replace('+', "%2B"))).amount("amount").is_err(), "{text}");
        }
        for code in ["USD", "bhd", "xyz", ""] {
            assert!(params(&format!("currency={code}")).currency().is_err(), "{code}");
        }
        assert!(params(&format!("metadata[a]={}", "x".repeat(501))).metadata().is_err());
        assert!(params("confirm=True").switch("confirm").is_err());
        assert!(params("created[since]=1").span("created").is_err());
        assert!(params("created=-1").span("created").is_err());
    }

    #[test]
    fn a_span_is_of_whole_seconds() {
        let span = |form: &str| params(form).span("created").expect("a span");
        assert_eq!(span("created=5"), Span { from: 5_000, until: 6_000 });
        assert_eq!(span("created[gte]=5&created[lt]=7"), Span { from: 5_000, until: 7_000 });
        assert_eq!(span("created[gt]=5&created[lte]=7"), Span { from: 6_000, until: 8_000 });
        assert_eq!(span(""), Span { from: 0, until: i64::MAX });
    }

    #[test]
    fn the_same_parameters_have_one_canonical_text() {
        assert_eq!(params("b=2&a=1").canonical(), params("a=1&b=2").canonical());
        assert_ne!(params("a=1&b=2").canonical(), params("a=1&b=3").canonical());
        assert_ne!(params("a=1%0A1:b=1:2").canonical(), params("a=1&b=2").canonical());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(mut params) = Params::read(&bytes) {
                let _ = (params.metadata(), params.list("a"), params.span("created"), params.finish());
            }
        }
    }
}
