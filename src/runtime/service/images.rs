use std::collections::BTreeMap;

/// Images that are used in place of others: `[docker.images]` of the settings, by the name that a Dockerfile or an environment
/// writes. A machine without a registry builds and runs programs this way without anything pretending to be an official image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, String>);

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
