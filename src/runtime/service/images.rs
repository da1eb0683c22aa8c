use std::collections::BTreeMap;

/// Replacements for images: `[docker.images]` of the settings, by the name in a Dockerfile or an
/// environment. A machine without a registry can build and run programs this way, without other images
/// under official names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, String>);

impl Images {
    /// Replacements from pairs `(name, replacement)`.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Parses `NAME=REPLACEMENT`, several separated by commas. The error is the invalid part.
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

    /// These replacements, and those of `other` for other names.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (name, with) in other.0 {
            self.0.entry(name).or_insert(with);
        }
        self
    }

    /// The replacement for `image`, or itself.
    pub fn of<'a>(&'a self, image: &'a str) -> &'a str {
        self.0.get(image).map_or(image, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_replaced_by_name() {
        let images = Images::parse("python:3.12-slim=atoll/python:3, busybox:latest=atoll/busybox").unwrap();
        assert_eq!((images.of("busybox:latest"), images.of("redis")), ("atoll/busybox", "redis"));
        assert_eq!(Images::parse("a=b,c"), Err("c".to_owned()));
        assert_eq!(Images::parse(""), Ok(Images::default()));
    }
}
