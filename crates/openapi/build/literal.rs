//! Reads what stands within `json_schema!(…)`: JSON, but for trailing commas, the escapes of Rust's
//! strings, and expressions that refer to other types:
//!
//! ```text
//! ({
//!     let mut schema_obj = __gen.subschema_for::<crate::api::core::v1::PodSpec>();
//!     schema_obj.ensure_object().insert("description".into(), "…".into());
//!     schema_obj
//! })
//! ```

use serde_json::{Map, Value};

/// Gives the name of a type by its path in Rust.
pub type Names<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the value that `text` begins with.
pub fn read(text: &str, names: Names<'_>) -> Result<Value, String> {
    Reader { rest: text, names }.value()
}

struct Reader<'a> {
    rest: &'a str,
    names: Names<'a>,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, String> {
        match self.next() {
            Some('{') => self.object(),
            Some('[') => self.array(),
            Some('"') => self.string().map(Value::String),
            Some('(' | '_') => self.reference(),
            _ => self.word(),
        }
    }

    /// The next character that is no white space.
    fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, expected: char) -> bool {
        let there = self.next() == Some(expected);
        if there {
            self.rest = &self.rest[expected.len_utf8()..];
        }
        there
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut object = Map::new();
        self.take('{');
        while !self.take('}') {
            let name = self.string()?;
            if !self.take(':') {
                return Err(self.unexpected("a colon"));
            }
            object.insert(name, self.value()?);
            self.take(',');
        }
        Ok(object.into())
    }

    fn array(&mut self) -> Result<Value, String> {
        let mut array = Vec::new();
        self.take('[');
        while !self.take(']') {
            array.push(self.value()?);
            self.take(',');
        }
        Ok(array.into())
    }

    /// `true`, or a number.
    fn word(&mut self) -> Result<Value, String> {
        let end = self.rest.find([',', '}', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = serde_json::from_str(word.trim());
        let value = value.map_err(|_| self.unexpected("a value"))?;
        self.rest = rest;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take('"') {
            return Err(self.unexpected("a string"));
        }
        let mut string = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(string);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => string.push('\n'),
                    Some((_, 'r')) => string.push('\r'),
                    Some((_, 't')) => string.push('\t'),
                    Some((_, same @ ('"' | '\'' | '\\'))) => string.push(same),
                    _ => return Err(self.unexpected("an escape that is known")),
                },
                other => string.push(other),
            }
        }
        Err("a string does not end".into())
    }

    /// An expression that refers to a type, and may describe it.
    fn reference(&mut self) -> Result<Value, String> {
        let expression = self.expression()?;
        let (_, path) = expression
            .split_once("subschema_for::<")
            .ok_or("an expression refers to no type")?;
        let (path, rest) = path.split_once(">()").ok_or("a type's path does not end")?;
        let name = (self.names)(path).ok_or_else(|| format!("no type is at {path}"))?;
        let mut schema = Map::new();
        schema.insert("$ref".into(), format!("#/definitions/{name}").into());
        if let Some((_, description)) = rest.split_once(r#""description".into(), "#) {
            let description = read(description, self.names)?;
            schema.insert("description".into(), description);
        }
        Ok(schema.into())
    }

    /// What is in these parentheses, or goes as far as the next ones.
    fn expression(&mut self) -> Result<&'a str, String> {
        let text = self.rest;
        let mut inner = Reader {
            rest: text,
            names: self.names,
        };
        let mut depth = 0;
        while let Some(character) = inner.next() {
            match character {
                '"' => drop(inner.string()?),
                character => {
                    inner.rest = &inner.rest[character.len_utf8()..];
                    depth += i32::from(character == '(') - i32::from(character == ')');
                    if character == ')' && depth == 0 {
                        let (expression, rest) = text.split_at(text.len() - inner.rest.len());
                        self.rest = rest;
                        return Ok(expression);
                    }
                }
            }
        }
        Err("an expression does not end".into())
    }

    fn unexpected(&self, expected: &str) -> String {
        let here: String = self.rest.chars().take(40).collect();
        format!("expected {expected} at {here:?}")
    }
}
