//! Go's `print`, `println` and `printf`.

use crate::rules::template::Value;
use crate::rules::template::format;

pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    Ok(Value::text(match (name, args) {
        ("println", args) => {
            let parts: Vec<_> = args.iter().map(Value::show).collect();
            format!("{}\n", parts.join(" "))
        }
        ("printf", [Value::Text(template), args @ ..]) => printf(template, args),
        ("printf", _) => return Err("printf needs a text first".to_owned()),
        (_, args) => plain(args),
    }))
}

/// All values as texts, with a space between two of which neither is a text.
pub(super) fn plain(args: &[Value]) -> String {
    let mut text = String::new();
    let mut was_text = true;
    for arg in args {
        let is_text = matches!(arg, Value::Text(_));
        if !is_text && !was_text {
            text.push(' ');
        }
        text.push_str(&arg.show());
        was_text = is_text;
    }
    text
}

/// What stands between `%` and the verb.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn printf(template: &str, args: &[Value]) -> String {
    let (mut text, mut args) = (String::new(), args.iter());
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
            match flag {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => {}
            }
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut number = None;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                // No one needs more, and nobody shall fill all memory with spaces.
                number = Some((number.unwrap_or(0_usize) * 10 + digit as usize).min(1000));
            }
            number
        };
        spec.width = number(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars).unwrap_or(0));
        }
        match chars.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match args.next() {
                None => text.push_str(&format!("%!{verb}(MISSING)")),
                Some(arg) => text.push_str(&spec.pad(&spec.value(verb, arg), arg)),
            },
        }
    }
    for arg in args {
        text.push_str(&format!("%!(EXTRA {})", arg.show()));
    }
    text
}

impl Spec {
    fn value(&self, verb: char, arg: &Value) -> String {
        let signed = |text: String| match text.starts_with(['-', '+']) {
            false if self.plus => format!("+{text}"),
            false if self.space => format!(" {text}"),
            _ => text,
        };
        let float = match arg {
            Value::Float(number) => Some(*number),
            _ => None,
        };
        match (verb, arg) {
            ('v', Value::Float(number)) => signed(format::general(*number, self.precision)),
            ('v' | 's', Value::Text(text)) => match self.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.to_string(),
            },
            ('v', arg) => arg.show(),
            ('d', Value::Int(number)) => signed(number.to_string()),
            ('f' | 'F', Value::Float(number)) => signed(format::fixed(*number, self.precision.unwrap_or(6))),
            ('e', Value::Float(number)) => signed(format::scientific(*number, self.precision.unwrap_or(6))),
            ('g', Value::Float(number)) => signed(format::general(*number, self.precision)),
            ('t', Value::Bool(value)) => value.to_string(),
            ('q', Value::Text(text)) => format!("{text:?}"),
            ('x', Value::Int(number)) => format!("{number:x}"),
            ('X', Value::Int(number)) => format!("{number:X}"),
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('c', Value::Int(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).map(String::from).unwrap_or_default()
            }
            ('s', Value::List(_) | Value::Map(_) | Value::Time(_)) => arg.show(),
            _ => {
                let kind = match arg {
                    _ if float.is_some() => "float64",
                    Value::Int(_) => "int",
                    Value::Text(_) => "string",
                    Value::Bool(_) => "bool",
                    _ => return format!("%!{verb}({})", arg.show()),
                };
                format!("%!{verb}({kind}={})", arg.show())
            }
        }
    }

    fn pad(&self, text: &str, arg: &Value) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing == 0 {
            return text.to_owned();
        }
        let is_number = matches!(arg, Value::Int(_) | Value::Float(_));
        match self.left {
            true => format!("{text}{}", " ".repeat(missing)),
            false if self.zero && is_number => {
                let (sign, digits) = match text.strip_prefix(['-', '+']) {
                    Some(digits) => text.split_at(text.len() - digits.len()),
                    None => ("", text),
                };
                format!("{sign}{}{digits}", "0".repeat(missing))
            }
            false => format!("{}{text}", " ".repeat(missing)),
        }
    }
}
