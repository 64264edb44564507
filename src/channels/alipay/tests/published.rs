//! An answer that Alipay's sandbox once gave, as the Node SDK publishes it for its own tests
//! (`alipay-sdk-nodejs-all`, `test/alipay.test.ts`, `checkResponseSign`, "should work"), with the key that was
//! beside it then (`test/fixtures/alipay-public-key.pem`, commit bf1c026).

use super::*;

const KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk7LzhmMa2c4qQd4fqAqenfbuFoA7stPKvoS1LrZEsVnOOGUUjwoa1oU9xsSPjcOW\
    hIerU/VAN4J95GIAXx59ipcleIyfLn2FhHXPgLJpvo+b2jJFyn/1/DbeJDh+0yDVAOf50Z7HhI0mdUhFMkXlT7BU0ZMtJf/TmISFEfhDU/w6\
    qFd6D42L97byAkq0K6LroglSVF24GqJEa7hSeUIkZWj7RasykXrc2uVJ1+ejkXE0LyPxa2AHykMGbJLf5SiZvaNzUZgnKIR36mLOHpQ/2JCX\
    xhXZYUWHzy0kMH54JcUEeksFWBYLGvLjV1phbcUIc3Q76tIuqApY6E222OoZZQIDAQAB";
const SIGN: &str = "F+LDzpTNiavn7xVZPGuPCSSVRSmWzJGgtuji6tVELGEaqMaNj0jRKXUEr5nloZJBBmwEnddOyCjjepMmrTKTvoOqQ0Efxpr/R1iE\
    eHTHVbb/Q8TTh6Up5gHJDkILdaWS2q1cWeQ6VT+HQY9P3WRXS7uhILHuDODIhpAyCu5KhWGt0rMCIG+Im6NODJP2oohtSCtmTFXg58HH587Z2y2b\
    dbjzOxLvzD9IrU1imghXQ2S/Q+wMIvRk9on6cWnBLkrNvJKapA2ReNGWOwyuASvB9zDVzhMPbR+3mfRGkVDxsq5HYLjBKGskJMXHw0HuugZij6Sc\
    RuaLPODhmHwr/pJ9yw==";

#[test]
fn a_true_answer_is_believed_and_a_changed_one_is_not() {
    let alipay =
        Alipay::new(account(), "https://x.example", credentials(Trust::PublicKey { pem: KEY.into() })).unwrap();
    let body = format!(
        r#"{{"alipay_open_file_upload_response":{{"code":"10000","msg":"Success","file_id":"CAxAToWB1JsAAAAAAAAAAAAADgSLAQBr"}},"sign":"{SIGN}"}}"#
    );
    let told = |body: &str| alipay.told("alipay.open.file.upload", &stamp(), &plain(body.to_owned()));
    let Ok(Told::Fine(fields)) = told(&body) else { panic!("a true answer") };
    assert_eq!(fields["file_id"], "CAxAToWB1JsAAAAAAAAAAAAADgSLAQBr");
    assert!(told(&body.replace("AQBr", "AQBs")).is_err());
}
