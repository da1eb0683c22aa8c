//! The project of the working directory: settings, pipelines and prompts in their layers, input files, and
//! the owners of all these files.

pub mod input_files;
pub mod owners;
pub mod seal;
pub mod settings;
pub mod text_layers;
