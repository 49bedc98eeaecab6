//! Data sets, and errors in them.

mod folder_training;
mod idx;
mod image_folder;
mod photographs;
mod subset;
mod table;
