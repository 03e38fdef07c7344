// Buttons that copy something: data-copy has it.

import { find } from './dom.js'
import { toast } from './toast.js'

async function copy (text) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Without https there is no such clipboard, but there is the old way.
    const field = document.createElement('textarea')
    field.value = text
    ;(find('dialog:modal') ?? document.body).append(field)
    field.select()
    const done = document.execCommand('copy')
    field.remove()
    if (!done) return toast({ text: 'This browser does not let pages copy.' })
  }
  toast({ text: 'Copied' })
}

document.addEventListener('click', ({ target }) => {
  const button = target.closest?.('[data-copy]')
  if (button) copy(button.dataset.copy)
})
