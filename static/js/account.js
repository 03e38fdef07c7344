// The account page: a button copies a new token.

import { copyText } from './clipboard.js'
import { emit, findAll } from './dom.js'

for (const button of findAll('[data-copies]')) {
  const field = document.getElementById(button.dataset.copies)
  // Pages without https have no clipboard; there the focus selects the token.
  button.hidden = !navigator.clipboard
  field.addEventListener('focus', () => field.select())
  button.addEventListener('click', async () => {
    if (await copyText(field.value)) emit('toast', { text: 'Token copied.' })
  })
}
