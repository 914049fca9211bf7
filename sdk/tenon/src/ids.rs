//! A map for keys that only grow, as those of tasks, calls and ops do. Much less code in every plugin than a general
//! one; a plugin is compiled before its first call, so its size is waited for.

use std::collections::VecDeque;

/// Sorted by key. The oldest and the newest come and go at no cost; what lies between costs a move of the shorter side.
#[derive(Debug)]
pub(crate) struct IdMap<T>(VecDeque<(u64, T)>);

impl<T> IdMap<T> {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Adds `value`, or puts it in the place of the one that `id` has.
    pub(crate) fn insert(&mut self, id: u64, value: T) {
        match self.position(id) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => self.0.insert(at, (id, value)),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let at = self.position(id).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let at = self.position(id).ok()?;
        self.0.remove(at).map(|(_, value)| value)
    }

    fn position(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_whatever_came_and_went_before() {
        let mut map = IdMap::new();
        for id in [1, 5, 9, 7, 20] {
            map.insert(id, id * 10);
        }
        map.insert(9, 91);
        assert_eq!((map.remove(5), map.remove(5), map.remove(6)), (Some(50), None, None));
        map.insert(30, 300);
        let values = [1, 5, 7, 9, 20, 30, 31].map(|id| map.get_mut(id).copied());
        assert_eq!(values, [Some(10), None, Some(70), Some(91), Some(200), Some(300), None]);
    }
}
