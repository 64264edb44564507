//! What the fuzz targets in `tests/fuzz` call with arbitrary bytes.
//!
//! Each channel has its own in `<channel>/fuzz.rs`, which says what must hold by `properties`. A signature stops most of
//! what is not true, so there are targets in front of it, where nothing may be believed, and behind it, where the bytes
//! are taken for the gateway's own. Built for tests and by cargo-fuzz only. The corpora beside the targets are replayed
//! by an ordinary test here.

pub use super::alipay::fuzz as alipay;
pub use super::simpay::fuzz as simpay;
pub use super::stripe::fuzz as stripe;
pub use super::unionpay::fuzz as unionpay;
pub use super::wechat::fuzz as wechat;

pub type Target = fn(&[u8]);

/// Each has a file in `tests/fuzz/fuzz_targets` and a folder in `tests/fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("alipay_answer", alipay::answer),
    ("alipay_bill", alipay::bill),
    ("alipay_envelope", alipay::envelope),
    ("alipay_notification", alipay::notification),
    ("simpay_answer", simpay::answer),
    ("simpay_callback", simpay::callback),
    ("stripe_answer", stripe::answer),
    ("stripe_bill", stripe::bill),
    ("stripe_event", stripe::event),
    ("stripe_webhook", stripe::webhook),
    ("unionpay_answer", unionpay::answer),
    ("unionpay_bill", unionpay::bill),
    ("unionpay_certificate", unionpay::certificate),
    ("unionpay_fields", unionpay::fields),
    ("unionpay_notification", unionpay::notification),
    ("wechat_answer", wechat::answer),
    ("wechat_bill", wechat::bill),
    ("wechat_keys", wechat::keys),
    ("wechat_notification", wechat::notification),
    ("wechat_resource", wechat::resource),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::read_dir;
    use std::path::Path;

    use super::*;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
    }

    #[test]
    fn every_corpus_is_replayed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
        let of_table: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let files: BTreeSet<String> = of_table.iter().map(|name| format!("{name}.rs")).collect();
        assert_eq!(names(&folder.join("fuzz_targets")), files, "a file for each target");
        assert_eq!(names(&folder.join("corpus")), of_table, "a corpus for each target");
        let mut failed = Vec::new();
        for (name, target) in TARGETS {
            let corpus = folder.join("corpus").join(name);
            let inputs = names(&corpus);
            assert!(inputs.len() >= 3, "{name}: too little to begin with");
            for input in inputs {
                let data = std::fs::read(corpus.join(&input)).expect("an input");
                if std::panic::catch_unwind(|| target(&data)).is_err() {
                    failed.push(format!("{name}/{input}"));
                }
            }
        }
        assert_eq!(failed, Vec::<String>::new());
    }
}
