//! The project of the working directory: settings, pipelines and prompts in their layers, files that inputs name, and
//! whose files all these are.

pub mod input_files;
pub mod owners;
pub mod seal;
pub mod settings;
pub mod text_layers;
