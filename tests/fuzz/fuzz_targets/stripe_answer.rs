#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tongbao::channels::fuzz::stripe::answer(data));
