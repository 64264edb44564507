//! What the pages look like: HTML that works without scripts and asks nobody else for anything.

use askama::Template;

use crate::domain::view::Message;

/// An order, what has become of it and how it can be paid.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"{%- macro both(words) -%}
{%- if zh_first -%}<span lang="zh-CN">{{ words.zh }}</span> <span class="second" lang="en">{{ words.en }}</span>
{%- else -%}<span lang="en">{{ words.en }}</span> <span class="second" lang="zh-CN">{{ words.zh }}</span>{%- endif -%}
{%- endmacro -%}
<!doctype html>
<html lang="{% if zh_first %}zh-CN{% else %}en{% endif %}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{%- if let Some(address) = refresh %}
<meta http-equiv="refresh" content="3;url={{ address }}">
{%- endif %}
<title>{{ amount }} · 通宝 Tongbao</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
h1 { font-size: 2rem; margin: .2rem 0; }
.second { display: block; color: #666; font-size: .85em; }
.note { border-left: .3rem solid #b00020; padding: .4rem .8rem; background: #fdf1f2; }
.state { border-left: .3rem solid #1a6b3c; padding: .4rem .8rem; background: #f0f8f3; }
.scan { text-align: center; }
.scan svg { width: 14rem; height: 14rem; }
.scan code { display: block; word-break: break-all; font-size: .75rem; color: #666; }
table { width: 100%; border-collapse: collapse; }
td, th { padding: .5rem .3rem; border-bottom: 1px solid #ddd; text-align: left; font-variant-numeric: tabular-nums; }
button, a.button { font: inherit; padding: .4rem 1rem; border: 0; border-radius: .3rem; background: #1a6b3c; color: #fff; text-decoration: none; }
</style>
</head>
<body>
<main>
<p>{{ description }}</p>
<h1>{{ amount }}</h1>
{%- if let Some(words) = note %}
<p class="note" role="alert">{% call both(words) %}{% endcall %}</p>
{%- endif %}
<p class="state" role="status">{% call both(state) %}{% endcall %}</p>
{%- match step %}
{%- when Some(Step::Scan { code, drawing, payable }) %}
<div class="scan">
{%- if let Some(drawing) = drawing %}
<svg viewBox="-4 -4 {{ drawing.size + 8 }} {{ drawing.size + 8 }}" role="img" aria-label="QR"><path fill="#fff" d="M-4-4h{{ drawing.size + 8 }}v{{ drawing.size + 8 }}H-4z"/><path d="{{ drawing.path }}"/></svg>
{%- endif %}
<p><strong>{{ payable }}</strong></p>
<code>{{ code }}</code>
</div>
{%- when Some(Step::Follow { url }) %}
<p><a class="button" href="{{ url }}">{% if zh_first %}前往支付 · Go and pay{% else %}Go and pay · 前往支付{% endif %}</a></p>
{%- when Some(Step::Carry { url, fields }) %}
<form method="post" action="{{ url }}" accept-charset="utf-8">
{%- for (name, value) in fields %}
<input type="hidden" name="{{ name }}" value="{{ value }}">
{%- endfor %}
<p><button>{% if zh_first %}前往支付 · Go and pay{% else %}Go and pay · 前往支付{% endif %}</button></p>
</form>
{%- when None %}
{%- endmatch %}
{%- if !offers.is_empty() %}
<table>
<thead><tr>
{%- if zh_first %}<th>渠道 Channel</th><th>手续费 Fee</th><th>应付 To pay</th><th></th>
{%- else %}<th>Channel 渠道</th><th>Fee 手续费</th><th>To pay 应付</th><th></th>{% endif -%}
</tr></thead>
<tbody>
{%- for offer in offers %}
<tr>
<td>{% if zh_first %}{{ offer.name.zh }}{% else %}{{ offer.name.en }}{% endif %} <span class="second">{% if zh_first %}{{ offer.reason.zh }}{% else %}{{ offer.reason.en }}{% endif %}</span></td><td>{{ offer.fee }}</td><td><strong>{{ offer.payable }}</strong></td>
<td><form method="post" action="{{ address }}"><button name="channel" value="{{ offer.channel }}">{% if zh_first %}支付 Pay{% else %}Pay 支付{% endif %}</button></form></td>
</tr>
{%- endfor %}
</tbody>
</table>
{%- endif %}
{%- if let Some(url) = return_url %}
<p><a href="{{ url }}">{% if zh_first %}返回商家 · Back to the shop{% else %}Back to the shop · 返回商家{% endif %}</a></p>
{%- endif %}
</main>
</body>
</html>
"##
)]
pub struct PayPage<'a> {
    pub zh_first: bool,
    /// Of this page, relative to the server.
    pub address: &'a str,
    /// Where to look again, while something is about to happen.
    pub refresh: Option<&'a str>,
    pub description: &'a str,
    pub amount: &'a str,
    pub state: Message,
    /// What went wrong with what was just asked for, or with the last attempt.
    pub note: Option<Message>,
    pub step: Option<Step>,
    pub offers: Vec<Offer>,
    pub return_url: Option<&'a str>,
}

/// What the payer does next.
pub enum Step {
    Scan {
        code: String,
        drawing: Option<Drawing>,
        payable: String,
    },
    Follow {
        url: String,
    },
    /// Posted to the channel by the payer's browser.
    Carry {
        url: String,
        fields: Vec<(String, String)>,
    },
}

/// The dark fields of a QR code, one unit each.
pub struct Drawing {
    pub size: usize,
    pub path: String,
}

/// A channel and what the order costs there.
pub struct Offer {
    pub channel: &'static str,
    pub name: Message,
    /// Why it stands where it does.
    pub reason: Message,
    pub fee: String,
    pub payable: String,
}

/// A page that has nothing but something to say.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="zh-CN">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex"><title>通宝 Tongbao</title></head>
<body><main><p lang="zh-CN">{{ words.zh }}</p><p lang="en">{{ words.en }}</p></main></body>
</html>
"##
)]
pub struct NoticePage {
    pub words: Message,
}
