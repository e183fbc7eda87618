//! Links, followed inside an image (`path_resolution(7)`).

use facts::EntryFault;
use facts::path::{MAX_PATH, join, parent};

/// Links followed one after the other, as in Linux.
const MAX_LINKS: usize = 40;

/// `path` with the links in it followed. `link` gives the target of what is a link.
pub(crate) fn follow<'a>(
    path: &str,
    link: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, EntryFault> {
    let mut real = String::new();
    let mut links = 0;
    let mut todo: Vec<&str> = path.rsplit('/').collect();
    while let Some(name) = todo.pop() {
        match name {
            "" | "." => {}
            ".." => real.truncate(parent(&real).len()),
            name => {
                let next = join(&real, name);
                let Some(target) = link(&next) else {
                    real = next;
                    if real.len() > MAX_PATH {
                        return Err(EntryFault::Length { limit: MAX_PATH });
                    }
                    continue;
                };
                links += 1;
                if links > MAX_LINKS {
                    return Err(EntryFault::Cycle);
                }
                if target.starts_with('/') {
                    real.clear();
                }
                todo.extend(target.rsplit('/').map(|part| part as &str));
            }
        }
    }
    Ok(real)
}
