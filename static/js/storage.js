// The browser's storage. It may be forbidden or full: reads then find nothing, and writes
// report that they failed. Every page works without it.

const guarded = (storage) => ({
  get (key) {
    try {
      return storage().getItem(key)
    } catch {
      return null
    }
  },

  /** Return whether the text is stored. */
  set (key, text) {
    try {
      storage().setItem(key, text)
      return true
    } catch {
      return false
    }
  },

  remove (key) {
    try {
      storage().removeItem(key)
    } catch {
      // What cannot be stored need not be removed.
    }
  },

  /** Return the text and remove it. */
  take (key) {
    const text = this.get(key)
    this.remove(key)
    return text
  },

  keys (prefix) {
    try {
      return Object.keys(storage()).filter((key) => key.startsWith(prefix))
    } catch {
      return []
    }
  }
})

/** Parse stored JSON; null for text that is none, such as what another release stored. */
export function parse (text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

// Functions, because the properties themselves throw where storage is forbidden.
export const session = guarded(() => sessionStorage)
export const local = guarded(() => localStorage)
