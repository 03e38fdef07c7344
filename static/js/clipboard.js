// Copying text to the clipboard.

import { find } from './dom.js'

/** Return whether the browser let the page copy the text. */
export async function copyText (text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return copySelection(text)
  }
}

/** Copy without the Clipboard API, which browsers offer to https pages only. */
function copySelection (text) {
  const field = document.createElement('textarea')
  field.value = text
  field.className = 'unseen'
  // A modal dialog makes everything outside it inert, and a field there unselectable.
  ;(find('dialog:modal') ?? document.body).append(field)
  field.select()
  const copied = document.execCommand('copy')
  field.remove()
  return copied
}
