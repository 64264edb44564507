//! Fields as Alipay and UnionPay sign them.

/// `k=v&k=v` in the order given, nothing encoded.
pub fn joined<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}
