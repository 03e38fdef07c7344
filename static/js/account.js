// The account page: a new token is copied by a button.

import { findAll, tell } from './dom.js'

for (const button of findAll('[data-copies]')) {
  const field = document.getElementById(button.dataset.copies)
  // Without https there is no clipboard to write to; then the field is selected.
  button.hidden = !navigator.clipboard
  field.addEventListener('focus', () => field.select())
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(field.value)
    tell('toast', { text: 'The token is copied.' })
  })
}
