//! `[docker.images]`: replacements of images.

use crate::cli::error::CommandError;
use crate::cli::project::settings::Settings;
use crate::runtime::service::Images;

/// The replacements from `ATOLL_DOCKER_IMAGES` (`NAME=REPLACEMENT`, separated by commas), then
/// `[docker.images]` of `atoll.toml`.
pub fn images(settings: &Settings) -> Result<Images, CommandError> {
    let own = Settings::environment("ATOLL_DOCKER_IMAGES").unwrap_or_default();
    let own = Images::parse(&own).map_err(|pair| {
        CommandError::wrong(format!("ATOLL_DOCKER_IMAGES: `{pair}` does not replace an image"))
            .hint("write NAME=REPLACEMENT, several separated by commas")
    })?;
    let Some((path, text)) = &settings.file else { return Ok(own) };
    let project = of_file(text).map_err(|message| {
        CommandError::wrong(format!("{}: {message}", path.display()))
            .hint("write [docker.images], then lines like \"python:3.12-slim\" = \"my/python:3.12\"")
    })?;
    Ok(own.or(project))
}

fn of_file(text: &str) -> Result<Images, String> {
    // What is not TOML at all is reported with the rest of the file.
    let Ok(file) = crate::value::parse_toml::<toml::Table>(text) else { return Ok(Images::default()) };
    let Some(docker) = file.get("docker") else { return Ok(Images::default()) };
    let docker = docker.as_table().ok_or("`docker` is not a table")?;
    if let Some(unknown) = docker.keys().find(|key| *key != "images") {
        return Err(format!("unknown key `docker.{unknown}`"));
    }
    let Some(images) = docker.get("images") else { return Ok(Images::default()) };
    let images = images.as_table().ok_or("`docker.images` is not a table")?;
    let pairs = images.iter().map(|(name, with)| match with.as_str() {
        Some(with) if !with.is_empty() => Ok((name.clone(), with.to_owned())),
        _ => Err(format!("the replacement of the image `{name}` is not the name of an image")),
    });
    Ok(Images::new(pairs.collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_replacements() {
        let read = of_file("[docker.images]\n\"python:3\" = \"own/python:3\"\n").unwrap();
        assert_eq!((read.of("python:3"), read.of("node:22")), ("own/python:3", "node:22"));
        assert_eq!(of_file("[lanes]\nllm = 1\n"), Ok(Images::default()));
        for bad in ["docker = 1", "[docker]\nimage = 1", "[docker.images]\na = 1", "[docker.images]\na = ''"]
        {
            assert!(of_file(bad).is_err(), "{bad}");
        }
    }
}
