use std::collections::BTreeMap;

/// Images that are used in place of others: `[docker.images]` of the settings, by the name that a Dockerfile or an environment
/// writes. A machine without a registry builds and runs programs this way without anything pretending to be an official image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, String>);

/// A Dockerfile with other base images, and one line for each that says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    pub(super) dockerfile: String,
    pub(super) notes: Vec<String>,
}

impl Images {
    /// These in place of those: `(name, replacement)`.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// `NAME=REPLACEMENT`, several separated by commas; what is not of that form comes back as the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| match pair.split_once('=') {
            Some((name, with)) if !name.is_empty() && !with.is_empty() => {
                Ok((name.to_owned(), with.to_owned()))
            }
            _ => Err(pair.to_owned()),
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// These, and those of `other` for names that these do not have.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (name, with) in other.0 {
            self.0.entry(name).or_insert(with);
        }
        self
    }

    /// The image that is used for `image`.
    pub fn of<'a>(&'a self, image: &'a str) -> &'a str {
        self.0.get(image).map_or(image, String::as_str)
    }

    /// `text` with the base images of its stages replaced; `None` if none of them is.
    pub(super) fn replace(&self, text: &str) -> Option<Replaced> {
        let mut notes = Vec::new();
        let mut continued = false;
        let lines: Vec<String> = text
            .split('\n')
            .map(|line| {
                let starts = !std::mem::replace(&mut continued, line.trim_end().ends_with('\\'));
                let found =
                    starts.then(|| base(line)).flatten().and_then(|name| Some((name, self.0.get(name)?)));
                let Some((name, with)) = found else { return line.to_owned() };
                notes.push(format!("base image {name}: {with} is used in its place ([docker.images])"));
                line.replacen(name, with, 1)
            })
            .collect();
        (!notes.is_empty()).then(|| Replaced { dockerfile: lines.join("\n"), notes })
    }
}

/// The image that a `FROM` line names.
fn base(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("FROM"))?;
    words.find(|word| !word.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_images_are_replaced_by_name_and_nothing_else_is() {
        let images = Images::parse("python:3.12-slim=atoll/python:3, busybox:latest=atoll/busybox").unwrap();
        let text = "ARG X=1\nfrom --platform=linux/amd64 python:3.12-slim AS one\nRUN echo \\\nFROM python:3.12-slim\nFROM node:22\n";
        let replaced = images.replace(text).unwrap();
        assert_eq!(
            replaced.dockerfile,
            "ARG X=1\nfrom --platform=linux/amd64 atoll/python:3 AS one\nRUN echo \\\nFROM python:3.12-slim\nFROM node:22\n"
        );
        assert_eq!(
            replaced.notes,
            ["base image python:3.12-slim: atoll/python:3 is used in its place ([docker.images])"]
        );
        assert_eq!(images.replace("FROM node:22\n"), None);
        assert_eq!((images.of("busybox:latest"), images.of("redis")), ("atoll/busybox", "redis"));
        assert_eq!(Images::parse("a=b,c"), Err("c".to_owned()));
        assert_eq!(Images::parse(""), Ok(Images::default()));
    }
}
