// The keyboard: modules bind keys here, and Help lists those of the page.

const bound = new Map()
const TYPING = 'input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]'

/**
 * Bind keys, named as KeyboardEvent.key, outside of text fields. A letter is also bound
 * by its place, for layouts where that key types no Latin letter: P is З on a Russian
 * keyboard. The action gets the event and returns false when it has nothing to do: the
 * key then goes to the binding before it, and at last to the browser. An empty `label`
 * keeps the binding off the list of keys, where another binding of the key says enough.
 */
export function bind (keys, label, action) {
  const binding = { keys: [keys].flat(), label, action }
  for (const key of binding.keys) bound.set(key, [binding, ...bound.get(key) ?? []])
}

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key !== 'Escape' && event.target.closest?.(TYPING)) return
  const bindings = bound.get(event.key) ?? bound.get(letterOf(event)) ?? []
  if (bindings.some(({ action }) => action(event) !== false)) event.preventDefault()
})

function letterOf ({ key, code }) {
  const isLatin = /^[a-z]$/i.test(key)
  const [, place] = /^Key([A-Z])$/.exec(code) ?? []
  return (isLatin || !place ? key : place).toLowerCase()
}

const NAMES = { ' ': 'Space', ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc' }

/** Return the keys that are bound and their labels, as terms and descriptions. */
export function describeKeys () {
  const described = []
  for (const { keys, label } of new Set([...bound.values()].flat())) {
    if (!label) continue
    const term = document.createElement('dt')
    for (const key of keys) {
      const cap = document.createElement('kbd')
      cap.textContent = NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key)
      term.append(cap)
    }
    const meaning = document.createElement('dd')
    meaning.textContent = label
    described.push(term, meaning)
  }
  return described
}
